"""
Runs as pure values: a durable request to a model, written in the document.

``state`` goes ``requested`` → ``claimed`` → ``streaming`` → one of ``FINAL``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from crdt_conv.ids import MessageId, RunId
from crdt_conv.messages.fields import Fields, Json, ordered
from crdt_conv.messages.message import MAIN
from crdt_conv.runs.calls import BEGUN, Call, read_calls

REQUESTED: Final = "requested"
FINAL: Final = frozenset({"complete", "failed", "cancelled", "interrupted"})
EPOCH: Final = "epoch:"
"""Before a message's id: the epoch of the claim under which it was begun."""
COMPLETED: Final = "completed"
"""
The key under which a run's completion stands, beside its state.

Of two states that were written apart one is lost; of two owners one may have been through, all the same.
"""
_HIGHEST_EPOCH: Final = 2**52


def may_ask_for_run(update: bytes) -> bool:
    """
    Whether an update may hold a new run, seen without decoding it.

    Yjs names the root with the first value of a key, and a run's key is new.
    """
    return b"runs" in update


@dataclass(frozen=True, slots=True)
class Target:
    """Which model shall answer: an adapter's name, and what it leaves open is the adapter's to choose."""

    adapter: str
    model: str | None = None
    endpoint: str | None = None
    params: Mapping[str, Json] = field(default_factory=dict)

    def as_json(self) -> dict[str, Json]:
        """Return it as JSON."""
        return {
            "adapter": self.adapter,
            "model": self.model,
            "endpoint": self.endpoint,
            "params": ordered(self.params),
        }


@dataclass(frozen=True, slots=True)
class Run:
    """
    One entry of the ``runs`` root.

    ``created`` is in milliseconds; ``outputs`` are ids of the messages that answer
    it, results of tools among them; each claim is ``{executor, epoch, at}``; ``error`` is
    ``{type, message}``; ``parked`` is the last epoch whose owner put the run down in good order;
    ``epochs`` says of outputs under which epoch they were begun.
    """

    id: RunId
    parents: tuple[MessageId, ...]
    branch: str
    target: Target
    state: str = REQUESTED
    created: int = 0
    requested_by: str = ""
    claims: tuple[Mapping[str, Json], ...] = ()
    outputs: tuple[MessageId, ...] = ()
    sent: Mapping[str, Json] | None = None
    error: Mapping[str, Json] | None = None
    cancel: bool = False
    calls: tuple[Call, ...] = ()
    parked: int = 0
    epochs: Mapping[MessageId, int] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in FINAL

    @property
    def epoch(self) -> int:
        """The highest epoch that was claimed; 0 if none was."""
        return max(self._claimed, default=0)

    @property
    def _claimed(self) -> list[int]:
        epochs = (_epoch(claim.get("epoch")) for claim in self.claims)
        return [epoch for epoch in epochs if epoch is not None]

    @property
    def pending(self) -> tuple[Call, ...]:
        """The calls that wait for a person."""
        return () if self.is_over else tuple(call for call in self.calls if call.is_waiting)

    @property
    def is_waiting(self) -> bool:
        """Whether nothing can be done before a person has said something."""
        can_go_on = any(call.state == BEGUN or call.is_decided for call in self.calls)
        return bool(self.pending) and not can_go_on

    @property
    def broken_off(self) -> int:
        """How many owners have gone since one put it down in good order."""
        return sum(epoch > self.parked for epoch in self._claimed)

    def winner(self, answers: Iterable[MessageId]) -> MessageId | None:
        """
        Return which of several whole answers counts; nothing where there is none.

        Executors that were cut off from each other may both have answered. Every replica
        chooses alike: the highest epoch, and of two that have one the smallest id.
        """
        return min(answers, key=lambda answer: (-self.epochs.get(answer, 0), answer), default=None)

    def as_json(self) -> dict[str, Json]:
        """Return the run as the programs print it."""
        return {
            "id": self.id,
            "state": self.state,
            "branch": self.branch,
            "parents": list(self.parents),
            "target": self.target.as_json(),
            "created": self.created,
            "requested_by": self.requested_by,
            "claims": ordered(self.claims),
            "outputs": list(self.outputs),
            "sent": ordered(self.sent),
            "error": ordered(self.error),
            "cancel": self.cancel,
            "calls": [call.as_json() for call in self.calls],
        }


def _epoch(value: Json) -> int | None:
    """Return an epoch as a whole number; nothing for what a stranger wrote in its place."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return int(value) if is_number and 0 <= value < _HIGHEST_EPOCH else None


def _epochs(raw: Mapping[str, Json]) -> dict[MessageId, int]:
    read = {key.removeprefix(EPOCH): _epoch(raw[key]) for key in raw if key.startswith(EPOCH)}
    return {MessageId(key): epoch for key, epoch in read.items() if epoch is not None}


def parse_run(run_id: str, raw: object) -> Run:
    """
    Read one entry of the ``runs`` root.

    Raises:
        MalformedEntry: It is no run of schema 1; the text says why.
    """
    fields = Fields.of(raw)
    target = Fields.of(fields.get("target", dict))
    return Run(
        id=RunId(run_id),
        parents=tuple(MessageId(parent) for parent in fields.strings("parents")),
        branch=fields.get("branch", str, MAIN),
        target=Target(
            target.get("adapter", str),
            target.optional("model", str),
            target.optional("endpoint", str),
            target.get("params", dict, {}),
        ),
        state="complete" if fields.raw.get(COMPLETED) is True else fields.get("state", str, REQUESTED),
        created=fields.milliseconds("created"),
        requested_by=fields.get("requested_by", str, ""),
        claims=tuple(claim for claim in fields.get("claims", list, []) if isinstance(claim, dict)),
        outputs=tuple(MessageId(output) for output in fields.strings("outputs", [])),
        sent=fields.optional("sent", dict),
        error=fields.optional("error", dict),
        cancel=fields.get("cancel", bool, False),
        calls=read_calls(fields.raw),
        parked=fields.milliseconds("parked"),
        epochs=_epochs(fields.raw),
    )
