"""
A seeded mix of what is done to a store, and what each step must lead to.

What it leads to is found by rehearsal: the same is done first to a copy in memory,
where no fault comes between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from crdt_conv import Conversation, Store
from tests.faults.states import ANY_ID, State, ids_in, state_of, with_new_ids_open

Act = Callable[[Conversation], Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One call, not made yet. ``expected`` is what the conversation says afterwards."""

    name: str
    conversation: str
    call: Callable[[], Any]
    expected: State


class Steps:
    """Makes one step after another, each from what the store holds then."""

    def __init__(self, store: Store, plan: str) -> None:
        """
        Make steps for a store.

        Args:
            store: What they are done to.
            plan: A seed; behind it perhaps a colon and the only kind of step there is but ``create``.
        """
        self._store = store
        self._seed, _, only = plan.partition(":")
        self._random = Random(self._seed)
        self._kinds = [make for make in _KINDS if only in {"", make.__name__[1:]}]
        self._weights = [1] if only else list(_KINDS.values())
        self._count = 0
        self._memory = Store(":memory:")
        self._peers: dict[str, Conversation] = {}
        # Some conversations are at hand, the others are read from the file for every step.
        self._held: dict[str, Conversation] = {}

    def next(self) -> Step:
        """Return the next step."""
        self._count += 1
        known = sorted(info.id for info in self._store.list())
        if not known or self._random.random() < 0.06:
            return self._create()
        conversation = self._store.open(self._random.choice(known))
        self._hold(conversation)
        make = self._random.choices(self._kinds, self._weights)[0]
        return make(self, conversation) or _append(self, conversation)

    def _hold(self, conversation: Conversation) -> None:
        if self._random.random() < 0.6:
            self._held[conversation.id] = conversation
        else:
            self._held.pop(conversation.id, None)

    def _create(self) -> Step:
        title, name = self.text(), f"c{self._count}"
        expected = {"title": title, "branches": {"main": []}}
        return Step("create", name, lambda: self._store.create(title, conversation_id=name), expected)

    # For the kinds of steps below

    def text(self) -> str:
        """Return a text that is nowhere else, a few of them of several pages."""
        size = self._random.choice([0, 10, 300, 300, 9_000])
        return f"{self._seed}.{self._count} " + "x" * self._random.randint(0, size)

    def choice(self, values: list[Any]) -> Any:
        """Return one of some values, or ``None`` where there is none."""
        return self._random.choice(values) if values else None

    def branch(self, conversation: Conversation) -> str:
        """Return the name of a branch."""
        return str(self.choice(conversation.branches))

    def new_branch(self) -> str:
        """Return a name that no branch has."""
        return f"b{self._count}"

    def upkeep(self, conversation: Conversation, name: str) -> Step | None:
        """Return a call of the store that changes nothing of what is said, where it has that method."""
        call = getattr(self._store, name, None)
        return Step(name, conversation.id, call, state_of(conversation)) if call else None

    def copy(self, conversation: Conversation) -> Step:
        """Return a fork that is a document of its own."""
        title = self.text()
        expected = {**state_of(conversation), "title": title}
        return Step("copy", ANY_ID, lambda: self._store.fork(conversation.id, title), expected)

    def change(self, conversation: Conversation, name: str, act: Act) -> Step:
        """Return a change of one conversation, rehearsed."""
        copy = self._copy(conversation, f"rehearsal {self._count}")
        act(copy)
        expected = with_new_ids_open(state_of(copy), ids_in(state_of(conversation)))
        return Step(name, conversation.id, lambda: act(conversation), expected)

    def peer(self, conversation: Conversation) -> Conversation:
        """Return the second replica of a conversation, which seldom hears of what happens here."""
        peer = self._peers.get(conversation.id)
        if peer is None:
            peer = self._peers[conversation.id] = self._copy(conversation, f"peer {conversation.id}")
        elif self._random.random() < 0.5:
            peer.receive(conversation.encode(peer.state_vector))
        return peer

    def _copy(self, conversation: Conversation, name: str) -> Conversation:
        copy = self._memory.join(name)
        copy.receive(conversation.encode())
        return copy


def _append(steps: Steps, conversation: Conversation) -> Step:
    text, branch = steps.text(), steps.branch(conversation)
    return steps.change(conversation, "append", lambda it: it.append("user", text, branch=branch))


def _stream(steps: Steps, conversation: Conversation) -> Step:
    branch = steps.branch(conversation)
    return steps.change(conversation, "stream", lambda it: it.stream(branch=branch))


def _streaming(steps: Steps, conversation: Conversation) -> str | None:
    entries = [entry for log in state_of(conversation)["branches"].values() for entry in log]
    found = steps.choice([message_id for message_id, status, _ in entries if status == "streaming"])
    return str(found) if found else None


def _write(steps: Steps, conversation: Conversation) -> Step | None:
    message_id, text = _streaming(steps, conversation), steps.text()
    if message_id is None:
        return _stream(steps, conversation)
    return steps.change(conversation, "write", lambda it: it.writer(message_id).write(text))


def _finish(steps: Steps, conversation: Conversation) -> Step | None:
    message_id = _streaming(steps, conversation)
    if message_id is None:
        return None
    return steps.change(conversation, "finish", lambda it: it.writer(message_id).finish(stop_reason="stop"))


def _fork(steps: Steps, conversation: Conversation) -> Step | None:
    at = steps.choice(sorted(ids_in(state_of(conversation))))
    name = steps.new_branch()
    return steps.change(conversation, "fork", lambda it: it.fork(name, at)) if at else None


def _merge(steps: Steps, conversation: Conversation) -> Step:
    source, into = steps.branch(conversation), steps.branch(conversation)
    return steps.change(conversation, "merge", lambda it: it.merge(source, into))


def _rename(steps: Steps, conversation: Conversation) -> Step:
    title = steps.text()
    return steps.change(conversation, "title", lambda it: setattr(it, "title", title))


def _receive(steps: Steps, conversation: Conversation) -> Step:
    peer = steps.peer(conversation)
    peer.append("user", steps.text(), branch=steps.branch(peer))
    update = peer.encode(conversation.state_vector)
    return steps.change(conversation, "receive", lambda it: it.receive(update, "a peer"))


def _copy(steps: Steps, conversation: Conversation) -> Step:
    return steps.copy(conversation)


def _compact(steps: Steps, conversation: Conversation) -> Step | None:
    return steps.upkeep(conversation, "compact")


def _flush(steps: Steps, conversation: Conversation) -> Step | None:
    return steps.upkeep(conversation, "flush")


_KINDS: Final[dict[Callable[[Steps, Conversation], Step | None], int]] = {
    _append: 6,
    _stream: 2,
    _write: 6,
    _finish: 3,
    _fork: 2,
    _merge: 2,
    _rename: 2,
    _receive: 4,
    _copy: 1,
    _compact: 1,
    _flush: 1,
}
"""The kinds of steps, and how often each comes."""
