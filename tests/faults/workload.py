"""
The program that writes to a store while faults come: ``python -m tests.faults.workload DB PLAN FAULT...``.

Before each step it prints what it is about to do and what that must lead to, after
the call returned what it led to: lines of JSON, each written at once. Without
arguments it reads such arguments from its input, a JSON list a line, and forks for
each: the imports, which take most of the time, are made once.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NoReturn
from unittest.mock import patch

from crdt_conv import Store, StoreError
from crdt_conv.conversation.views import Change
from tests.faults.hindrances import KINDS, Hindrance, Statements
from tests.faults.seccomp import NotSupportedError
from tests.faults.states import ANY_ID, state_in
from tests.faults.steps import Step, Steps

STEPS = 40
"""So many steps a run has, where nothing ends it before."""


def tell(what: str, **values: Any) -> None:
    """Print one line, past every buffer that a kill would empty."""
    line = memoryview(json.dumps({"what": what, **values}).encode() + b"\n")
    while line:
        line = line[os.write(1, line) :]


class Workload:
    """One run over one store."""

    def __init__(self, db: Path, plan: str, hindrance: Hindrance) -> None:
        self._db = db
        self._random = Random(f"workload {plan}")
        self._plan = plan
        self._hindrance = hindrance
        self._statements = Statements(hindrance.kill_at, self._random.choice([5, 50, 1000]))

    def run(self) -> None:
        """Do all steps."""
        with patch.object(sqlite3, "connect", self._statements.connect):
            store = self._open()
            tell("opened", statements=self._statements.count)
            store.subscribe(_hear)
            steps = Steps(store, self._plan)
            for number in range(STEPS):
                step = steps.next()
                self._hindrance.before(number, self._db)
                self._do(store, step)
            log = self._db.with_name(f"{self._db.name}-wal")
            tell("finished", statements=self._statements.count, size=log.stat().st_size)
            if self._random.random() < 0.5:
                store.close()

    def _open(self) -> Store:
        self._hindrance.before(-1, self._db)
        try:
            return Store(self._db)
        except StoreError as error:
            tell("not opened", error=type(error).__name__)
        self._hindrance.relieve()
        return Store(self._db)

    def _do(self, store: Store, step: Step) -> None:
        tell("try", step=step.name, conversation=step.conversation, expected=step.expected)
        try:
            result = step.call()
        except StoreError as error:
            kind = type(error).__name__
        else:
            made = getattr(result, "message_id", getattr(result, "id", ""))
            conversation = made if step.conversation == ANY_ID else step.conversation
            state = state_in(store, conversation)
            tell("done", step=step.name, conversation=conversation, made=made, state=state)
            return
        # Behind the handler, so that the error keeps nothing in memory that was being written.
        tell("refused", error=kind, conversation=step.conversation, state=state_in(store, step.conversation))
        if self._hindrance.relieve():
            self._do(store, step)


def _hear(change: Change) -> None:
    tell("heard", conversation=change.conversation, seq=change.seq, messages=sorted(change.messages))


def main(db: str, plan: str, fault: str, *arguments: str) -> None:
    """Run once, and say what went wrong if it is none of what a fault may lead to."""
    try:
        Workload(Path(db), plan, KINDS[fault](*arguments)).run()
    except NotSupportedError as error:
        tell("unable", reason=str(error))
    except Exception:  # noqa: BLE001 - the other process shows it
        tell("broken", error=traceback.format_exc())


def serve(main: Callable[..., None]) -> None:
    """Run once for each line of the input, each in a process of its own."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _main_and_exit(main, json.loads(line))
        _, status = os.waitpid(child, 0)
        # On a line of its own, where a kill came in the middle of one.
        os.write(1, b"\n")
        tell("end", code=os.waitstatus_to_exitcode(status))


def _main_and_exit(main: Callable[..., None], arguments: list[str]) -> NoReturn:
    try:
        main(*arguments)
    finally:
        # Not the way out of the process that it was forked from.
        os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(*sys.argv[1:])
    else:
        serve(main)
