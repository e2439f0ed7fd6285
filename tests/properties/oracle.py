"""
What conversations must read as, written from contract 1 and docs/document.md alone.

Plain Python over what was written: no Yjs, no graph, no index, nothing of the code
under test. It is as slow as the contract's words are short.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import rfc8785

Parts = list[dict[str, Any]]


@dataclass
class Written:
    """A message as its only writer wrote it; ``parts`` without their ids."""

    id: str
    role: str
    parents: tuple[str, ...]
    branch: str
    created: int
    author: dict[str, str]
    nonce: bytes
    parts: Parts
    status: str = "complete"
    is_redacted: bool = False
    source: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """What never changes."""
        parents = list(self.parents)
        return {
            "id": self.id,
            "role": self.role,
            "parents": parents,
            "branch": self.branch,
            "created": self.created,
            "author": self.author,
        }

    @property
    def says(self) -> Parts:
        """What is left of it for everybody to read."""
        return [] if self.is_redacted else self.parts

    def grow(self, part_type: str, text: str) -> None:
        """Append to the last part if it is of this type, else begin another."""
        if self.parts and self.parts[-1]["type"] == part_type:
            self.parts[-1]["text"] += text
        else:
            self.parts.append({"type": part_type, "text": text})


class Shown(NamedTuple):
    """What a replica shows of a message beyond its facts."""

    status: str
    hidden: int


@dataclass(frozen=True)
class View:
    """What a replica has at a moment; ``forks`` are the branches begun on a message."""

    shown: Mapping[str, Shown]
    choices: Mapping[str, Any]
    forks: Mapping[str, Any]


class Register:
    """A key in which the last writer wins: what it may hold when everybody has heard of everything."""

    def __init__(self, default: Any = None) -> None:
        """Make one that reads as ``default`` until somebody writes."""
        self._written: Counter[Any] = Counter([default])
        self._replaced: set[Any] = set()

    def write(self, value: Any, over: Any) -> None:
        """Note a value, written by somebody who saw ``over``."""
        self._written[value] += 1
        self._replaced.add(over)

    def was(self, value: Any) -> bool:
        """Whether somebody ever wrote a value."""
        return value in self._written

    def may_be(self, value: Any) -> bool:
        """Whether a value was written, and nobody who had seen it wrote another."""
        # Of two writes of one value nobody can tell which was seen.
        return value in self._written and (self._written[value] > 1 or value not in self._replaced)


@dataclass
class Asked:
    """A run as it was asked for, and what was noted in it."""

    fields: dict[str, Any]
    claims: list[tuple[str, int]] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    state: Register = field(default_factory=Register)
    cancel: Register = field(default_factory=Register)


class Oracle:
    """Every message ever written, in the order of writing, and what follows from them."""

    def __init__(self) -> None:
        self.messages: dict[str, Written] = {}
        self._logs: dict[str, tuple[str, ...]] = {}

    def write(self, written: Written) -> Written:
        """Note a message; a merge that two devices made is one."""
        known = self.messages.setdefault(written.id, written)
        assert known.facts == written.facts
        if any(self.messages[original].is_redacted for original in written.source):
            # Copied by who had not heard of it.
            self.redact(written.id)
        return known

    def redact(self, message_id: str) -> None:
        """Note that a message is redacted, and with it what was copied from it, wherever that is."""
        self.messages[message_id].is_redacted = True
        for copy in self.messages.values():
            if message_id in copy.source and not copy.is_redacted:
                self.redact(copy.id)

    # Logs

    def lin(self, message_id: str) -> tuple[str, ...]:
        """Contract 1: the log of parents[0], what each further parent's adds, then the message."""
        if message_id not in self._logs:
            self._logs[message_id] = (*self.under(self.messages[message_id].parents), message_id)
        return self._logs[message_id]

    def under(self, heads: Iterable[str]) -> tuple[str, ...]:
        """Return the log under several heads."""
        log: list[str] = []
        for head in heads:
            log += [seen for seen in self.lin(head) if seen not in log]
        return tuple(log)

    def order(self, message_id: str) -> tuple[int, str]:
        """Return contract 1's tie-break."""
        return self.messages[message_id].created, message_id

    # Branches, as somebody sees them

    def heads(self, view: View, branch: str) -> list[str]:
        """Contract 1: a branch's messages with no child on it, less alternatives, by (created, id)."""
        here = [seen for seen in view.shown if self.messages[seen].branch == branch]
        parents = {parent for seen in here for parent in self.messages[seen].parents}
        heads = [leaf for leaf in here if leaf not in parents and not self._is_alternative(view, leaf)]
        if not here and branch in view.forks:
            return [view.forks[branch]]
        return sorted(heads, key=self.order)

    def _is_alternative(self, view: View, leaf: str) -> bool:
        written = self.messages[leaf]
        if written.role != "assistant":
            return False
        complete = [reply for reply in self.siblings(view, leaf) if view.shown[reply].status == "complete"]
        chosen = [reply for reply in complete if reply == view.choices.get((*written.parents, "")[0])]
        return bool(complete) and leaf != (*chosen, *complete)[0]

    def siblings(self, view: View, reply: str) -> list[str]:
        """Return all replies to the same parents on the same branch, oldest first."""
        asked = self.messages[reply]
        return sorted(
            (
                seen
                for seen in view.shown
                if (other := self.messages[seen]).role == "assistant"
                and (other.parents, other.branch) == (asked.parents, asked.branch)
            ),
            key=self.order,
        )

    def is_continued(self, view: View, message_id: str) -> bool:
        """Whether something was written on top of a message on its own branch."""
        branch = self.messages[message_id].branch
        written = [self.messages[seen] for seen in view.shown]
        return any(child.branch == branch and message_id in child.parents for child in written)

    def next_parents(self, view: View, *branches: str) -> tuple[str, ...]:
        """Contract 1: all heads, the one whose log has most to lose first, ties by (created, id)."""
        heads = {head for branch in branches for head in self.heads(view, branch)}
        return tuple(sorted(heads, key=lambda head: (-self._loss(view, head), self.order(head))))

    def _loss(self, view: View, head: str) -> int:
        answered = [seen for seen in self.lin(head) if self.messages[seen].role == "assistant"]
        return sum(1 for seen in answered if view.shown[seen].hidden)

    def added(self, view: View, source: str, into: str) -> list[str]:
        """Return what a branch's log adds to another's."""
        held = self.under(self.heads(view, into))
        return [seen for seen in self.under(self.heads(view, source)) if seen not in held]

    # Digests

    def digest(self, log: Sequence[str], visible: Mapping[str, dict[str, Any]]) -> bytes:
        """docs/document.md: a hash chain over visible content; ``visible`` has status, nonce and parts."""
        digest = bytes(32)
        for message_id in log:
            content = rfc8785.dumps({**self.messages[message_id].facts, **visible[message_id]})
            digest = hashlib.sha256(digest + hashlib.sha256(content).digest()).digest()
        return digest
