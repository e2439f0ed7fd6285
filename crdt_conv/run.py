"""
Runs as pure values: a durable request to a model, written in the document.

``state`` goes ``requested`` → ``claimed`` → ``streaming`` → one of ``FINAL``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from crdt_conv.calls import BEGUN, Call, read_calls
from crdt_conv.fields import Fields, Json
from crdt_conv.ids import MessageId, RunId
from crdt_conv.message import MAIN

REQUESTED: Final = "requested"
FINAL: Final = frozenset({"complete", "failed", "cancelled", "interrupted"})


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
            "params": dict(self.params),
        }


@dataclass(frozen=True, slots=True)
class Run:
    """
    One entry of the ``runs`` root.

    ``created`` is in milliseconds; ``outputs`` are ids of the messages that answer
    it, results of tools among them; each claim is ``{executor, epoch, at}``; ``error`` is
    ``{type, message}``; ``parked`` is the last epoch whose owner put the run down in good order.
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

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in FINAL

    @property
    def epoch(self) -> int:
        """The highest epoch that was claimed; 0 if none was."""
        epochs = (claim.get("epoch") for claim in self.claims)
        return max((int(epoch) for epoch in epochs if isinstance(epoch, int | float)), default=0)

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
        epochs = (claim.get("epoch") for claim in self.claims)
        return sum(isinstance(epoch, int | float) and epoch > self.parked for epoch in epochs)

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
            "claims": [dict(claim) for claim in self.claims],
            "outputs": list(self.outputs),
            "sent": self.sent,
            "error": self.error,
            "cancel": self.cancel,
            "calls": [call.as_json() for call in self.calls],
        }


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
        state=fields.get("state", str, REQUESTED),
        created=fields.milliseconds("created"),
        requested_by=fields.get("requested_by", str, ""),
        claims=tuple(claim for claim in fields.get("claims", list, []) if isinstance(claim, dict)),
        outputs=tuple(MessageId(output) for output in fields.strings("outputs", [])),
        sent=fields.optional("sent", dict),
        error=fields.optional("error", dict),
        cancel=fields.get("cancel", bool, False),
        calls=read_calls(fields.raw),
        parked=fields.milliseconds("parked"),
    )
