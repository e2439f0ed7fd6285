"""The public API, from outside: its types, its documentation, what importing it does."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import crdt_conv
from tests.pages import DOCS, blocks

PROGRAM = """
from pathlib import Path

from crdt_conv import (
    Author, Branch, Change, Compaction, Conversation, ConversationInfo, Damage, Destination, Found,
    HiddenField, Log, Message, MessageWriter, Part, Problem, Recovery, Run, Store, Target, Validity,
    new_part, recover, validity,
)


def heard(change: Change) -> None:
    print(change.conversation, change.seq, sorted(change.messages))


def told(done: int, total: int) -> None:
    print(f"{done} of {total}")


def use(path: Path) -> None:
    with Store(path, name="Ann") as store:
        conv: Conversation = store.create(title="Trip")
        unsubscribe = store.subscribe(heard)
        parts: list[Part] = [conv.attach(path), new_part("text", text="?")]
        sealed = HiddenField("anthropic", space="anthropic", kind="signature", data=b"\\x00")
        asked: Message = conv.append("user", "Where?", parts=parts, hidden=[sealed])
        writer: MessageWriter = conv.stream("assistant", author=Author("model", name="m"))
        writer.write("To the sea.")
        answered: Message = writer.finish()
        log: Log = conv.log(last=2)
        digest: bytes = log.digest
        edited: Message = conv.edit(asked.id, "When?")
        branch: Branch = conv.branch(edited.branch)
        merged: Message | None = conv.merge(branch.name)
        picked: list[Message] = conv.cherry_pick([answered.id])
        copies: list[Message] = conv.copies(answered.id)
        run: Run = conv.runs.request(Target("llamacpp"))
        field: HiddenField = conv.hidden(asked.id)[0]
        sent: Validity = validity(field, asked, Destination("openai"), prefix=None, now_ms=0)
        redacted: Message = conv.redact(answered.id, copies=False)
        fork: Conversation = store.fork(conv.id, title="Aside")
        is_news: bool = conv.merge_document(fork)
        problems: list[Problem] = list(conv.verify())
        found: list[Found] = list(store.search("sea", limit=3))
        infos: list[ConversationInfo] = list(store.list())
        done: list[Compaction] = list(store.compact(progress=told))
        damages: list[Damage] = list(store.check(told))
        store.reindex(told)
        store.backup(path.with_suffix(".bak"), told)
        unsubscribe()
        print(digest, merged, picked, copies, run.state, sent.reason, redacted)
        print(is_news, problems, found, infos, done, damages)
    recovery: Recovery = recover(path, path.with_suffix(".new"), told)
    print(recovery.lost)
"""
COMPOSED = """
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette

from adapters import (
    Adapter, AdapterError, Anthropic, Executor, FunctionTool, Gemini, LlamaCpp, Ollama, OpenAIChat,
    OpenAIResponses, Report, Request, RunFailed, find_model,
)
from adapters.tools.mcp import McpServer
from crdt_conv import Conversation, Run, Store, Target
from syncd.app import create_app
from syncd.auth import AccessDenied, CallableGate, Credentials, Grant, Right
from syncd.client import Link, LinkStatus, SyncClient
from syncd.hub import Hub
from syncd.limits import Limits


def weather(city: str, days: int = 1) -> dict[str, int]:
    return {city: days}


async def answers(store: Store, conv: Conversation, model: Path) -> AsyncIterator[str]:
    adapters: list[Adapter] = [
        LlamaCpp(find_model(model), context_tokens=4096),
        Anthropic("claude-opus-5", api_key="k"),
        OpenAIResponses("gpt-5.5"),
        OpenAIChat("m", base_url="http://127.0.0.1:1/v1"),
        Gemini("gemini-3-pro"),
        Ollama("m"),
    ]
    asked, clock = FunctionTool(weather, needs_approval=True), McpServer.stdio("mcp-server-time")
    try:
        async with Executor(store, adapters, tools=[weather, asked, clock]) as executor:
            async for piece in executor.run(conv, target=Target("anthropic", params={"max_tokens": 5})):
                yield piece.upper()
    except RunFailed as error:
        print(error)


async def sync(conv: Conversation) -> LinkStatus:
    async with SyncClient("http://127.0.0.1:7878", token="t") as client:
        await client.sync(conv, timeout_s=5)
        link: Link = client.follow(conv)
        await client.changed()
        print(client.summary)
        return link.status


def decide(credentials: Credentials, conversation: str | None) -> Grant | set[Right] | None:
    if credentials.token == "no":
        raise AccessDenied("no", 4403)
    return {Right.READ} if conversation else None


def serve(store: Store) -> Starlette:
    hub = Hub(store, CallableGate(decide), limits=Limits(frame_bytes=2**20))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with hub.running():
            yield

    app = Starlette(lifespan=lifespan)
    app.mount("/crdt", create_app(hub, origins=["https://app.example"]))
    return app


def look(adapter: Adapter, error: AdapterError, request: Request, report: Report, run: Run) -> None:
    print(adapter.name, error, request.digest, report.left_out, run.is_over)
"""
WRONG = """
from adapters import LlamaCpp
from crdt_conv import Store

store = Store("chats.db")
text: str = store.create(title=5).append("user", "Where?")
LlamaCpp(context_tokens="many")
"""


def test_a_program_of_somebody_else_s_is_type_checked(tmp_path: Path) -> None:
    """All that the public API takes and returns has its type outside, and a wrong use is an error."""
    (tmp_path / "right.py").write_text(PROGRAM)
    (tmp_path / "composed.py").write_text(COMPOSED)
    (tmp_path / "wrong.py").write_text(WRONG)
    # What a reader copies, too; the guide's needs FastAPI.
    (tmp_path / "readme.py").write_text(blocks(DOCS.parent / "README.md", "python")[0])
    if importlib.util.find_spec("fastapi"):
        (tmp_path / "guide.py").write_text(blocks(DOCS / "embedding.md", "python")[0])
    # Far from this project and its settings.
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line.partition(":")[0] for line in errors] == ["wrong.py"] * 3, done.stdout + done.stderr


def public() -> list[tuple[str, object]]:
    """Return every public class and function, and every public method of those classes, by name."""
    named = [(name, getattr(crdt_conv, name)) for name in crdt_conv.__all__]
    methods = [
        (f"{name}.{method}", value)
        for name, thing in named
        if inspect.isclass(thing)
        for method, value in inspect.getmembers(thing)
        if not method.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
        if getattr(inspect.getmodule(getattr(value, "fget", value)), "__name__", "").startswith("crdt_conv")
    ]
    return [(name, thing) for name, thing in named if callable(thing)] + methods


@pytest.mark.parametrize(("name", "thing"), public(), ids=[name for name, _ in public()])
def test_everything_public_says_what_it_does(name: str, thing: object) -> None:
    """A class, function, method or property of the public API has a docstring of its own."""
    assert (inspect.getdoc(thing) or "").strip(), name


def test_everything_public_is_there() -> None:
    """``__all__`` is sorted, as a reader looks for it, and holds what there is."""
    assert sorted(crdt_conv.__all__) == sorted(set(crdt_conv.__all__))
    assert all(hasattr(crdt_conv, name) for name in crdt_conv.__all__)


def test_importing_needs_no_event_loop() -> None:
    """Importing the package, and using it, loads no event loop and opens no way to a network."""
    forbidden = {"asyncio", "trio", "uvloop", "ssl", "httpx", "websockets", "uvicorn", "adapters", "syncd"}
    program = "import sys; from crdt_conv import Store; Store(':memory:').create().append('user', 'hi');"
    program += f" print(sorted(set(sys.modules) & {forbidden}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
