"""
Calls of tools, as a run has them on record.

A call is on record before it is made, so that nobody makes it twice: ``pending`` (a person has
to say whether it may be), ``begun``, ``done`` (its result stands in the log). Only the executor
that holds the lease writes that, under ``call:KEY``. Any device writes ``approval:KEY``. Both are
keys of the run's own Map, so that devices that write at the same time lose nothing. A record
holds nothing of what was said: which tool and with what stands in the message, and goes when
that is redacted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from crdt_conv.ids import MessageId
from crdt_conv.messages.fields import Json

PENDING: Final = "pending"
BEGUN: Final = "begun"
DONE: Final = "done"
CALL: Final = "call:"
APPROVAL: Final = "approval:"


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the part of the message that asks for it, how it goes, and what a person has said to it."""

    message: MessageId
    part: str
    state: str
    epoch: int = 0
    approved: bool | None = None

    @property
    def key(self) -> str:
        """What names it in its run."""
        return call_key(self.message, self.part)

    @property
    def is_waiting(self) -> bool:
        """Whether a person has to say something first."""
        return self.state == PENDING and self.approved is None

    @property
    def is_decided(self) -> bool:
        """Whether a person has said something, and nobody has acted on it yet."""
        return self.state == PENDING and self.approved is not None

    def as_record(self) -> dict[str, Json]:
        """Return it as it stands in the run."""
        return {"message": self.message, "part": self.part, "state": self.state, "epoch": self.epoch}

    def as_json(self) -> dict[str, Json]:
        """Return it as the programs print it."""
        return {**self.as_record(), "approved": self.approved}


def call_key(message_id: str, part_id: str) -> str:
    """Return what names a call in its run."""
    return f"{message_id}:{part_id}"


def read_calls(raw: Mapping[str, Json]) -> tuple[Call, ...]:
    """Return the calls of a run's entry, by message and part; what has another shape is passed over."""
    calls = (_read(raw, key) for key in sorted(raw) if key.startswith(CALL))
    return tuple(call for call in calls if call is not None)


def _read(raw: Mapping[str, Json], key: str) -> Call | None:
    record, answer = raw[key], raw.get(APPROVAL + key.removeprefix(CALL))
    if not isinstance(record, dict):
        return None
    message, part, state = (record.get(name) for name in ("message", "part", "state"))
    if not (isinstance(message, str) and isinstance(part, str) and isinstance(state, str)):
        return None
    epoch, approved = record.get("epoch"), answer.get("approved") if isinstance(answer, dict) else None
    call = Call(
        MessageId(message),
        part,
        state,
        epoch if isinstance(epoch, int) else 0,
        approved if isinstance(approved, bool) else None,
    )
    return call if CALL + call.key == key else None
