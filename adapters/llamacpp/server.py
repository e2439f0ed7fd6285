"""
llama-server as a supervised child process.

States: ``starting`` → ``ready`` → (the child died) ``restarting`` → ``ready``, or
``failed`` when it did not come back. A restart waits, twice as long each time, and
forgets that after a minute of health. The child's address changes with a restart.

Leaving the context ends the child, at whatever moment the task is cancelled.
"""

from __future__ import annotations

import json
import re
import secrets
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import anyio
from anyio.abc import ByteReceiveStream, Process, TaskGroup

from adapters.errors import ModelUnavailable
from adapters.llamacpp.model import check_model

State: TypeAlias = Literal["starting", "ready", "restarting", "failed"]

START_S = 300.0
STOP_S = 5.0
FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 30.0
HEALTHY_S = 60.0
MAX_RESTARTS = 8
NOTICE_S = 1.0

_LOG_LINES = 50
_LINE_LENGTH = 4096
# By its path. With -m, a folder named "adapters" in the working folder would be taken for
# ours, and our package's imports would double the start. -P: its neighbours are no top-level modules.
_COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("child.py")))
_ERROR_LINE = re.compile(r"^\S+ E (?P<text>.+)$")


class LlamaServer:
    """A llama-server on this machine, for as long as the context is open."""

    def __init__(
        self,
        model: Path,
        *,
        context_tokens: int = 8192,
        threads: int | None = None,
        slots: int = 1,
        slot_save_path: Path | None = None,
        chat_template: str | None = None,
    ) -> None:
        """
        Prepare a server; entering the context starts it.

        Args:
            model: A GGUF file.
            context_tokens: How much one slot reads and writes at most.
            threads: Processor threads; llama.cpp's choice, where it is left out.
            slots: How many answers at once.
            slot_save_path: The folder where the server may save and restore slots.
            chat_template: A Jinja template instead of the model's own.
        """
        self.model = model
        self.context_tokens = context_tokens
        self.api_key = secrets.token_urlsafe(24)
        self.state: State = "starting"
        self.starts = 0
        """How often a child has come up: what an earlier one held is gone."""
        self.about: Mapping[str, Any] = {}
        """What the child says of its build and its cache."""
        self._wanted = {
            "model": str(model),
            "api_key": self.api_key,
            "context_tokens": context_tokens * slots,
            "threads": threads,
            "slots": slots,
            "slot_save_path": str(slot_save_path) if slot_save_path is not None else None,
            "chat_template": chat_template,
            "port": 0,
        }
        self._url = ""
        self._child: _Child | None = None
        self._failure = ""
        self._changed = anyio.Event()
        self._tasks: TaskGroup

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.process.pid if self._child is not None else None

    async def __aenter__(self) -> Self:
        """
        Start the child, and wait until the model is loaded.

        Raises:
            ModelUnavailable: It can't be loaded; the text is one line.
        """
        check_model(self.model)
        self._set("starting")
        self._tasks = await anyio.create_task_group().__aenter__()
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise
        self._tasks.start_soon(self._supervise)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def url(self) -> str:
        """
        Return where the server listens, waiting for a start that is under way.

        Raises:
            ModelUnavailable: It died and does not come back.
        """
        while self.state != "ready":
            if self.state == "failed":
                raise ModelUnavailable(f"llama.cpp does not come back: {self._failure}")
            await self._changed.wait()
        return self._url

    async def wait_for_news(self) -> None:
        """Return when the child's state changes, or does not for a moment: a call to it has just failed."""
        if self.state == "ready":
            with anyio.move_on_after(NOTICE_S):
                await self._changed.wait()

    def _set(self, state: State) -> None:
        self.state = state
        self._changed.set()
        self._changed = anyio.Event()

    async def _start(self) -> None:
        try:
            self._child = child = _Child(await _open_process())
        except OSError as error:
            raise ModelUnavailable(f"no process for llama.cpp: {error.strerror}") from error
        self._tasks.start_soon(child.keep_log)
        answer: Mapping[str, Any] | None = None
        with anyio.move_on_after(START_S):
            answer = await child.ask(self._wanted)
        if answer is None or "url" not in answer:
            reason = await child.reason(answer, self.model)
            await self._end_child()
            raise ModelUnavailable(reason)
        self._url, self.about = answer["url"], answer
        self.starts += 1
        self._set("ready")

    async def _supervise(self) -> None:
        restarts = 0
        while True:
            if self._child is not None and await self._outlive(self._child) > HEALTHY_S:
                restarts = 0
            if restarts == MAX_RESTARTS:
                break
            await anyio.sleep(restart_delay_s(restarts))
            restarts += 1
            try:
                await self._start()
            except ModelUnavailable as error:
                self._failure = str(error)
        self._set("failed")

    async def _outlive(self, child: _Child) -> float:
        """Wait until the child dies, and return how many seconds that took."""
        started_s = anyio.current_time()
        await child.process.wait()
        self._failure = f"it {child.end}"
        self._set("restarting")
        await self._end_child()
        return anyio.current_time() - started_s

    async def _end_child(self) -> None:
        """End the process, if it has not ended, and free what it held."""
        if self._child is not None:
            await self._child.stop()
            self._child = None

    async def _close(self) -> None:
        try:
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(None, None, None)
        finally:
            # In a cancelled task the line above raises, and the child is still there.
            with anyio.CancelScope(shield=True):
                await self._end_child()


def restart_delay_s(restarts: int) -> float:
    """Return how long to wait after so many restarts that did not last."""
    return min(FIRST_DELAY_S * 2.0**restarts, LONGEST_DELAY_S)


class _Child:
    """One process, from its start to its end."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._log_ended = anyio.Event()

    async def ask(self, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write the one line, and read the one line: ``{"url"}``, ``{"error"}``, or nothing if it died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            await self.process.stdin.send(json.dumps(wanted).encode() + b"\n")
            answer: Mapping[str, Any] = json.loads(await _first_line(self.process.stdout))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            return {}
        return answer

    async def keep_log(self) -> None:
        """Read what llama.cpp says, so that it never waits; keep the last lines."""
        assert self.process.stderr is not None
        rest = b""
        try:
            async for chunk in self.process.stderr:
                *lines, rest = (rest + chunk).split(b"\n")
                rest = rest[-_LINE_LENGTH:]
                self._log.extend(line.decode(errors="replace").strip() for line in lines)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            self._log_ended.set()

    async def stop(self) -> None:
        """End it, and free what it held."""
        await self._exit()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                await stream.aclose()

    async def _exit(self) -> None:
        """Close its input, and kill it if it does not end by that."""
        if self.process.returncode is None and self.process.stdin is not None:
            await self.process.stdin.aclose()
            with anyio.move_on_after(STOP_S):
                await self.process.wait()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def reason(self, answer: Mapping[str, Any] | None, model: Path) -> str:
        """
        Say in a line why it did not load.

        Only of loading: what llama.cpp says later may quote a conversation.

        Args:
            answer: What it answered; nothing, if it did not in time.
            model: The file.
        """
        if answer is None:
            return f"llama.cpp did not load {model} in {START_S:.0f} s"
        # It is ending by itself; until then llama.cpp writes its log.
        with anyio.move_on_after(STOP_S):
            await self._log_ended.wait()
        await self._exit()
        # The cause comes first, then what failed by it.
        causes = [found["text"] for line in self._log if (found := _ERROR_LINE.match(line))]
        if causes:
            return f"llama.cpp can't load {model}: {causes[0][:300]}"
        if "error" in answer:
            return str(answer["error"]).split("\n", maxsplit=1)[0]
        return f"llama.cpp {self.end} while it loaded {model}"

    @property
    def end(self) -> str:
        """How it ended."""
        code = self.process.returncode
        if code is None:
            return "was stopped"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


async def _open_process() -> Process:
    # Shielded: asyncio leaves a process that is cancelled while it is made for later to reap.
    with anyio.CancelScope(shield=True):
        # Of its own session, so that a terminal's signals reach the parent alone.
        process = await anyio.open_process(_COMMAND, stderr=subprocess.PIPE, start_new_session=True)
    return process  # noqa: RET504 - for mypy, the scope might swallow an error


async def _first_line(stdout: ByteReceiveStream) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += await stdout.receive()
    return line
