"""
``conv demo``: a tour in one terminal, on a real daemon, a real model and two stores.

Two devices share a conversation, lose the network, write apart from each other
while one of them forks, meet again, merge, and get one answer that both see as
it comes. Nothing is acted: every line shown is read from a device's own store.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import anyio
import anyio.to_thread
import typer
from rich.columns import Columns
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel

from adapters import RunFailed, find_model
from adapters.answers import answer, wait_until_over, watching
from crdt_conv import Conversation, Run, Store, Target
from syncd.cli.common import console, print_json, run_async
from syncd.cli.graph import draw_graph
from syncd.client import SyncClient
from syncd.errors import StartError

START_S = 60.0
STOP_S = 10.0
ANSWER_PARAMS = {"max_tokens": 80, "temperature": 0.3, "seed": 7}

ModelOption = Annotated[
    Path | None,
    typer.Option("--model", "-m", envvar="CONV_MODEL", help="A GGUF file; SmolLM2 where it is installed."),
]
FastOption = Annotated[bool, typer.Option("--fast", help="Don't pause between the steps.")]
KeepOption = Annotated[Path | None, typer.Option("--keep", help="Keep the three stores in this folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print only the outcome, for programs.")]


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the story: its store, and its replica of the conversation."""

    name: str
    store: Store
    conversation: Conversation


def demo(
    model: ModelOption = None, fast: FastOption = False, keep: KeepOption = None, json: JsonOption = False
) -> None:
    """
    Show it all in a minute: two devices, a fork offline, a merge, a real answer.

    Examples:
        conv demo
    """
    gguf = find_model(model)
    folder = keep or Path(tempfile.mkdtemp(prefix="conv-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    console.quiet = json

    async def main() -> None:
        outcome = await _Tour(folder, gguf, pause_s=0 if fast or json else 1.5).run()
        if json:
            print_json(outcome)

    try:
        run_async(main)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


class _Tour:
    """The steps, in order."""

    def __init__(self, folder: Path, model: Path, pause_s: float) -> None:
        self._folder = folder
        self._model = model
        self._pause_s = pause_s

    async def run(self) -> dict[str, object]:
        """Play the story; returns what it came to."""
        await self._say(
            "Three programs: a daemon with a small real model, and two devices with stores of their own."
        )
        console.print(f"[dim]  stores in {self._folder}, model {self._model.name}[/]")
        with (
            Store(self._folder / "laptop.db", name="laptop") as laptop_store,
            Store(self._folder / "phone.db", name="phone") as phone_store,
        ):
            async with daemon(self._folder / "daemon.db", self._model) as (url, token):
                laptop = Device("laptop", laptop_store, laptop_store.create("Weekend in Lisbon"))
                phone = Device("phone", phone_store, phone_store.join(laptop.conversation.id))
                await self._together(laptop, phone, url, token)
                await self._apart(laptop, phone)
                return await self._meet(laptop, phone, url, token)

    async def _together(self, laptop: Device, phone: Device, url: str, token: str) -> None:
        await self._say("1. Both are online: what the laptop writes, the phone has.")
        laptop.conversation.append(
            "system", "You are a helpful travel guide. Answer in two or three sentences."
        )
        laptop.conversation.append("user", "We spend a weekend in Lisbon.")
        async with _online(laptop, phone, url, token):
            pass
        self._show(laptop, phone)

    async def _apart(self, laptop: Device, phone: Device) -> None:
        await self._say("2. The network is gone. Both go on writing, and the phone forks a plan for rain.")
        laptop.conversation.append("user", "We love old trams.")
        phone.conversation.append("user", "We also like good food.")
        phone.conversation.fork("rainy-day", phone.conversation.log().messages[-1].id)
        phone.conversation.append("user", "If it rains, we want to see a museum.", branch="rainy-day")
        self._show(laptop, phone)

    async def _meet(self, laptop: Device, phone: Device, url: str, token: str) -> dict[str, object]:
        await self._say(
            "3. They meet again. Nothing is lost, nothing is there twice, both read the same log."
        )
        async with _online(laptop, phone, url, token) as clients:
            self._show(laptop, phone)
            await self._say(
                "4. The phone merges its branch and asks the model. Both see the answer as it comes."
            )
            phone.conversation.merge("rainy-day")
            phone.conversation.append("user", "What is the best place to begin?")
            requested = phone.conversation.runs.request(Target("llamacpp", params=ANSWER_PARAMS))
            await self._answer_on_both(laptop, phone, requested.id)
            for client, device in zip(clients, (laptop, phone), strict=True):
                await client.sync(device.conversation)
        await self._say("5. The whole conversation, as either device has it:")
        console.print(draw_graph(laptop.conversation))
        return self._outcome(laptop, phone, requested.id)

    async def _answer_on_both(self, laptop: Device, phone: Device, run_id: str) -> None:
        with Live(console=console, refresh_per_second=20, transient=False) as live:
            async with watching(laptop.conversation) as on_laptop, watching(phone.conversation) as on_phone:

                async def redraw(changes: object) -> None:
                    while True:
                        live.update(Columns([_answer_panel(d, run_id) for d in (laptop, phone)], expand=True))
                        await (on_laptop if changes is on_laptop else on_phone).wait()

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(redraw, on_laptop)
                    tasks.start_soon(redraw, on_phone)
                    await _over(laptop, phone, run_id)
                    tasks.cancel_scope.cancel()
            live.update(Columns([_answer_panel(d, run_id) for d in (laptop, phone)], expand=True))
        run = phone.conversation.runs[run_id]
        if run.state != "complete":
            raise RunFailed(str((run.error or {}).get("message") or f"the run was {run.state}"))

    def _outcome(self, laptop: Device, phone: Device, run_id: str) -> dict[str, object]:
        logs = [device.conversation.log() for device in (laptop, phone)]
        is_same = logs[0].digest == logs[1].digest
        mark = "[green]✓[/]" if is_same else "[red]✗[/]"
        digest = logs[0].digest.hex()
        console.print(f"{mark} both logs have {len(logs[0].messages)} messages and the digest {digest[:16]}")
        reply = answer(phone.conversation, phone.conversation.runs[run_id])
        return {
            "id": laptop.conversation.id,
            "same": is_same,
            "digest": digest,
            "messages": [message.text for message in logs[0].messages],
            "answer": reply.text if reply is not None else None,
        }

    def _show(self, laptop: Device, phone: Device) -> None:
        console.print(Columns([_device_panel(laptop), _device_panel(phone)], expand=True))

    async def _say(self, text: str) -> None:
        console.print(f"\n[bold]{text}[/]\n")
        await anyio.sleep(self._pause_s)


@asynccontextmanager
async def daemon(db: Path, model: Path) -> AsyncIterator[tuple[str, str]]:
    """
    Run ``syncd serve`` as a process of its own; yields its URL and token.

    Raises:
        StartError: It did not start; the text is its own.
    """
    command = [
        sys.executable,
        "-m",
        "syncd",
        "serve",
        "--db",
        str(db),
        "--port",
        "0",
        "--model",
        str(model),
        "--json",
    ]
    process = await anyio.open_process(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        ready = json.loads(await _first_line(process))
        yield str(ready["url"]), str(ready["token"])
    finally:
        with anyio.CancelScope(shield=True):
            await _stop(process)


async def _first_line(process: anyio.abc.Process) -> bytes:
    line = b""
    with anyio.move_on_after(START_S):
        while process.stdout is not None and not line.endswith(b"\n"):
            try:
                line += await process.stdout.receive()
            except anyio.EndOfStream:
                break
    if not line.endswith(b"\n"):
        said = b"" if process.stderr is None or process.returncode is None else await process.stderr.receive()
        raise StartError(f"the daemon did not start: {said.decode(errors='replace').strip() or 'no answer'}")
    return line


async def _stop(process: anyio.abc.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(STOP_S):
            await process.wait()
    if process.returncode is None:
        process.kill()
    await process.aclose()


@asynccontextmanager
async def _online(laptop: Device, phone: Device, url: str, token: str) -> AsyncIterator[list[SyncClient]]:
    """Give both devices the network until both have everything."""
    async with SyncClient(url, token=token) as first, SyncClient(url, token=token) as second:
        # The first brings what it has before the second asks; then once more for what the second brought.
        for client, device in ((first, laptop), (second, phone)):
            await client.sync(device.conversation, timeout_s=START_S)
        await _equal(laptop, phone)
        yield [first, second]


async def _equal(laptop: Device, phone: Device) -> None:
    async with watching(laptop.conversation) as on_laptop:
        while laptop.conversation.encode() != phone.conversation.encode() and not _same_log(laptop, phone):
            await on_laptop.wait()


def _same_log(laptop: Device, phone: Device) -> bool:
    one, other = laptop.conversation, phone.conversation
    return one.branches == other.branches and all(
        one.log(branch).digest == other.log(branch).digest for branch in one.branches
    )


async def _over(laptop: Device, phone: Device, run_id: str) -> None:
    async with watching(laptop.conversation) as changes:
        while run_id not in {run.id for run in laptop.conversation.runs.all()}:
            await changes.wait()
    for device in (laptop, phone):
        await wait_until_over(device.conversation, run_id)


def _device_panel(device: Device) -> Panel:
    log = device.conversation.log()
    lines = [f"[bold]{escape(m.author.name or m.role)}[/] {escape(m.text)}" for m in log.messages if m.text]
    state = f"diverged, {len(log.heads)} heads" if log.is_diverged else "one head"
    forks = [f"[dim]branch[/] {escape(branch)}" for branch in device.conversation.branches[1:]]
    return Panel(
        Group(*lines, *forks),
        title=device.name,
        subtitle=f"{state} · {log.digest.hex()[:8]}",
        width=max(30, (console.width - 2) // 2),
    )


def _answer_panel(device: Device, run_id: str) -> Panel:
    known: dict[str, Run] = {run.id: run for run in device.conversation.runs.all()}
    run = known.get(run_id)
    reply = answer(device.conversation, run) if run is not None else None
    text = reply.text if reply is not None else "…"
    state = run.state if run is not None else "not here yet"
    return Panel(escape(text), title=device.name, subtitle=state, width=max(30, (console.width - 2) // 2))
