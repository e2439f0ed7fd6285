"""Runs of the workload: started, read, and held against what is in the file afterwards."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final

from crdt_conv import Conversation, Store
from tests.faults.states import ANY_ID, State, agrees, ids_in, state_in, state_of

ROOT = Path(__file__).parent.parent.parent

FAULTS: Final = int(os.environ.get("CRDT_CONV_FAULTS", "30"))
"""About so many faults of each kind; ``CRDT_CONV_FAULTS=2000`` is for a night."""
FAULTS_A_SEED: Final = 10


def seeds(share: int = 1) -> range:
    """Return the seeds for a test that makes a share of all faults, ten with each seed."""
    return range(max(1, FAULTS // FAULTS_A_SEED // share))


def spread(seed: int, start: int, stop: int, number: int = FAULTS_A_SEED) -> list[int]:
    """Return numbers of a range, one at random from each of its equal parts."""
    random = Random(f"spread {seed}")
    edges = [start + (stop - start) * part // number for part in range(number + 1)]
    return [random.randrange(low, high) for low, high in pairwise(edges) if low < high]


class Run:
    """What one run told, line by line."""

    def __init__(self, lines: Sequence[dict[str, Any]], known: dict[str, State]) -> None:
        self.acknowledged = dict(known)
        """What each conversation said when the last call for it returned."""
        self.attempted: defaultdict[str, list[State]] = defaultdict(list)
        """What it may say as well: calls that have not returned, or were refused."""
        self.heard: defaultdict[str, set[str]] = defaultdict(set)
        """The messages that subscribers were told of."""
        self.heard_seq: dict[str, int] = {}
        self.errors: list[str] = []
        self.changes: list[bool] = []
        """For each step whether it was acknowledged, and changed anything."""
        self.opened = self.statements = self.size = self.code = 0
        self.unable = ""
        for line in lines:
            getattr(self, f"_on_{line.pop('what').replace(' ', '_')}")(**line)

    def _on_opened(self, statements: int) -> None:
        self.opened = statements

    def _on_try(self, step: str, conversation: str, expected: State) -> None:
        self.step, self._target, self._is_told = step, conversation, False
        self.changes.append(False)
        self.attempted[conversation].append(expected)

    def _on_heard(self, conversation: str, seq: int, messages: list[str]) -> None:
        self._is_told = True
        self.heard[conversation] |= set(messages)
        self.heard_seq[conversation] = max(seq, self.heard_seq.get(conversation, 0))

    def _on_done(self, step: str, conversation: str, made: str, state: State) -> None:
        expected = self.attempted[self._target].pop()
        assert agrees(state, expected), f"{step} ({made}) was acknowledged, not done"
        if state != self.acknowledged.get(conversation):
            # Written over what was refused before; until then its pages may stand in the log, whole.
            self.attempted.pop(self._target)
            self.changes[-1] = True
        self.acknowledged[conversation] = state

    def _on_refused(self, error: str, conversation: str, state: State) -> None:
        self.errors.append(error)
        assert not self._is_told, f"{self.step} was announced, then refused"
        assert agrees(state, self.acknowledged.get(conversation, {})), f"{self.step} was refused, and done"

    def _on_not_opened(self, error: str) -> None:
        self.errors.append(error)

    def _on_finished(self, statements: int, size: int) -> None:
        self.statements, self.size = statements, size

    def _on_unable(self, reason: str) -> None:
        self.unable = reason

    def _on_broken(self, error: str) -> None:
        raise AssertionError(error)

    def _on_end(self, code: int) -> None:
        self.code = code


class Children:
    """The workload's server. Every run is a process of its own, over when ``run`` returns."""

    def __init__(self, program: str = "tests.faults.workload") -> None:
        command = [sys.executable, "-m", program]
        # A session of its own: whatever is forked there can be ended with it.
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, start_new_session=True
        )
        self._whole: dict[int, Run] = {}

    def run(self, db: Path, plan: int | str, *fault: object, known: dict[str, State] | None = None) -> Run:
        """
        Run the workload once.

        Args:
            db: The store; made, where it is not there.
            plan: What is done; a seed, as a rule. See ``Steps``.
            fault: As in ``hindrances``.
            known: What is in the store already.
        """
        assert self._server.stdin is not None
        request = [str(value) for value in (db, plan, *fault)]
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        return Run(self._answer(), known or {})

    def whole(self, db: Path, seed: int) -> Run:
        """Return a run into which no fault comes; made once for each seed."""
        if seed not in self._whole:
            self._whole[seed] = self.run(db, seed, "none")
            check(db, self._whole[seed], f"seed {seed}")
        return self._whole[seed]

    def _answer(self) -> list[dict[str, Any]]:
        assert self._server.stdout is not None
        lines: list[dict[str, Any]] = []
        while not lines or lines[-1]["what"] != "end":
            line = self._server.stdout.readline()
            assert line, "the workload's server has ended"
            if line.startswith(b"{") and line.endswith(b"}\n"):
                lines.append(json.loads(line))
        return lines

    def close(self) -> None:
        """End the server and what it may have forked."""
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.communicate()


def check(db: Path, run: Run, fault: str) -> None:
    """Fail unless the store holds what was acknowledged, nothing by halves, and can be written to."""
    with Store(db) as store:
        _check_states(store, run, fault)
        written = _write_on(store)
    with Store(db) as store:
        for conversation, state in written.items():
            assert state_in(store, conversation) == state, f"{fault}: {conversation} can't be written to"
    with closing(sqlite3.connect(db)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)], fault


def _check_states(store: Store, run: Run, fault: str) -> None:
    memory = Store(":memory:")
    known = run.acknowledged.keys() | run.attempted.keys()
    for conversation_id in known | {info.id for info in store.list()}:
        found = state_in(store, conversation_id)
        attempted = run.attempted.get(conversation_id if conversation_id in known else ANY_ID, [])
        allowed = [run.acknowledged.get(conversation_id, {}), *attempted]
        assert any(agrees(found, state) for state in allowed), (
            f"{fault}: {conversation_id} says {found}, and was to say one of {allowed}"
        )
        if found:
            conversation = store.open(conversation_id)
            _check_told(conversation, found, run, fault)
            copy = memory.join(conversation_id)
            copy.receive(conversation.encode())
            assert state_of(copy) == found, f"{fault}: the log of {conversation_id} says other than is shown"
        else:
            assert store.join(conversation_id).last_seq == 0, f"{fault}: {conversation_id} is half there"


def _check_told(conversation: Conversation, found: State, run: Run, fault: str) -> None:
    known = ids_in(found)
    assert run.heard[conversation.id] <= known, f"{fault}: what was told of is not there"
    assert run.heard_seq.get(conversation.id, 0) <= conversation.last_seq, f"{fault}: told too early"
    assert not conversation.problems(), fault


def _write_on(store: Store) -> dict[str, State]:
    conversations = [store.open(info.id) for info in store.list()] or [store.create("after it")]
    for conversation in conversations:
        conversation.append("user", "after it")
    return {conversation.id: state_of(conversation) for conversation in conversations}
