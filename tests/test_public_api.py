"""The public API of ``crdt_conv``, from outside: its types, its documentation, what importing it does."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import crdt_conv

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
WRONG = """
from crdt_conv import Store

store = Store("chats.db")
text: str = store.create(title=5).append("user", "Where?")
"""


def test_a_program_of_somebody_else_s_is_type_checked(tmp_path: Path) -> None:
    """All that the public API takes and returns has its type outside, and a wrong use is an error."""
    (tmp_path / "right.py").write_text(PROGRAM)
    (tmp_path / "wrong.py").write_text(WRONG)
    # Far from this project and its settings.
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line.partition(":")[0] for line in errors] == ["wrong.py"] * 2, done.stdout + done.stderr


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
