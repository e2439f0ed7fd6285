"""Replicas: what a client has of a conversation, as raw updates and as a Y.Doc, without our own code."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import pycrdt

from tests.faults.simulation.atoms import Atoms, atoms

ROOT = "simulated"


@dataclass(frozen=True, slots=True)
class View:
    """What a document shows: our values in their order, and the messages that somebody wrote."""

    values: tuple[str, ...]
    messages: frozenset[str]


def view_of(document: pycrdt.Doc[Any]) -> View:
    """Return what a document shows."""
    values = document.get(ROOT, type=pycrdt.Array)
    messages = document.get("messages", type=pycrdt.Map)
    return View(tuple(map(str, values)), frozenset(messages.keys()))


def _message() -> pycrdt.Map[Any]:
    """Return a message as contract 1 has it: what a daemon shows it keeps in an index."""
    text = pycrdt.Map({"id": "0", "type": "text", "text": pycrdt.Text("said")})
    return pycrdt.Map(
        {
            "role": "user",
            "status": "complete",
            "parents": [],
            "parts": pycrdt.Array([text]),
            "branch": "main",
            "created": 0.0,
            "author": {"kind": "human", "device": "d", "name": ""},
            "nonce": bytes(16),
            "hidden": pycrdt.Array(),
        }
    )


class Replica:
    """One client's copy of one conversation."""

    def __init__(self, name: str, conversation: str, client_id: int) -> None:
        self.name = name
        self.conversation = conversation
        self.log: list[bytes] = []
        self.atoms = Atoms()
        self.is_gone = False
        """Whether its client was told that there is no such conversation any more."""
        self._random = Random(name)
        self._document: pycrdt.Doc[Any] = pycrdt.Doc(client_id=client_id)
        self._values = self._document.get(ROOT, type=pycrdt.Array)
        self._made: list[bytes] = []
        self._document.observe(lambda event: self._made.append(event.update))

    @property
    def state_vector(self) -> bytes:
        """Which operations are here, up to the first gap."""
        return self._document.get_state()

    @property
    def view(self) -> View:
        """What it shows."""
        return view_of(self._document)

    def change(self) -> bytes:
        """Insert a value somewhere, or delete one, or write a message; returns the update."""
        self._made.clear()
        size, drawn = len(self._values), self._random.random()
        if drawn > 0.85:
            self._document.get("messages", type=pycrdt.Map)[f"{self.name}.{len(self.log)}"] = _message()
        elif size and drawn < 0.25:
            del self._values[self._random.randrange(size)]
        else:
            self._values.insert(self._random.randint(0, size), f"{self.name}.{len(self.log)}")
        [update] = self._made
        self._note(update)
        return update

    def take(self, update: bytes) -> bool:
        """Take in an update from elsewhere; returns whether it held anything new."""
        self._document.apply_update(update)
        return self._note(update)

    def _note(self, update: bytes) -> bool:
        held = atoms(update)
        is_new = not held <= self.atoms
        if is_new:
            self.log.append(update)
            self.atoms |= held
        return is_new

    def lacking(self, state_vector: bytes) -> bytes:
        """Return what a state vector lacks, pending parts included."""
        if not self.log:
            return b"\x00\x00"
        return pycrdt.get_update(pycrdt.merge_updates(*self.log), state_vector)
