"""SIGKILL at any moment: what was acknowledged is there, in its order, and nothing is there by halves."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from random import Random

import pytest

from crdt_conv import Store
from tests.faults.old_store import make_old_store
from tests.faults.runs import Children, Run, check, seeds, spread
from tests.faults.states import State


def killed(
    children: Children, db: Path, plan: int | str, statement: int, known: dict[str, State] | None = None
) -> Run:
    """Run the workload until a statement."""
    run = children.run(db, plan, "kill", statement, known=known)
    # A thread that compacts makes the number of statements differ a little.
    assert run.code == -signal.SIGKILL or 0 < run.statements < statement, f"plan {plan}: {run.code}"
    return run


@pytest.mark.parametrize("seed", seeds())
def test_a_kill_at_any_statement_loses_nothing_acknowledged(
    children: Children, tmp_path: Path, seed: int
) -> None:
    """Whichever statement SQLite was about to run: what was acknowledged is there, the rest wholly or not."""
    whole = children.whole(tmp_path / "whole.db", seed)
    for statement in spread(seed, whole.opened + 1, whole.statements):
        db = tmp_path / f"{statement}.db"
        run = killed(children, db, seed, statement)
        check(db, run, f"seed {seed}, killed at statement {statement}")


def test_a_conversation_is_made_wholly_or_not_at_all(children: Children, tmp_path: Path) -> None:
    """Killed at any statement of the first conversation's making, all of it is in the file, or nothing."""
    opened = children.whole(tmp_path / "whole.db", 0).opened
    for statement in range(opened + 1, opened + 20):
        db = tmp_path / f"{statement}.db"
        check(db, killed(children, db, 0, statement), f"seed 0, killed at statement {statement}")


@pytest.mark.parametrize("seed", seeds())
def test_a_kill_in_the_middle_of_a_write_loses_nothing_acknowledged(
    children: Children, tmp_path: Path, seed: int
) -> None:
    """At whichever byte a write was torn: what was acknowledged is there, the rest wholly or not."""
    whole = children.whole(tmp_path / "whole.db", seed)
    for size in spread(seed, 0, whole.size):
        db = tmp_path / f"{size}.db"
        run = children.run(db, seed, "cut", size)
        assert run.code == -signal.SIGXFSZ or 0 < run.size <= size, (
            f"seed {seed}, cut at byte {size}: not killed"
        )
        check(db, run, f"seed {seed}, cut at byte {size}")


@pytest.mark.parametrize("seed", seeds(share=4))
def test_a_store_that_was_being_made_is_made_the_next_time(
    children: Children, tmp_path: Path, seed: int
) -> None:
    """Killed at any statement that makes the tables, a store opens, and works."""
    whole = children.whole(tmp_path / "whole.db", seed)
    for statement in spread(seed, 1, whole.opened + 1):
        db = tmp_path / f"{statement}.db"
        run = killed(children, db, seed, statement)
        assert run.opened == 0
        check(db, run, f"seed {seed}, killed at statement {statement} of making it")


@pytest.mark.parametrize("seed", seeds(share=4))
def test_a_kill_while_an_old_store_is_upgraded_loses_nothing(
    children: Children, tmp_path: Path, seed: int
) -> None:
    """Killed at any statement that brings a file of the first version up to date, it holds all it held."""
    old = tmp_path / "old.db"
    known = make_old_store(old, seed)
    whole = children.run(Path(shutil.copy(old, tmp_path / "whole.db")), seed, "none", known=known)
    check(tmp_path / "whole.db", whole, f"seed {seed}")
    for statement in spread(seed, 1, whole.opened + 1):
        db = Path(shutil.copy(old, tmp_path / f"{statement}.db"))
        run = killed(children, db, seed, statement, known)
        assert run.opened == 0
        check(db, run, f"seed {seed}, killed at statement {statement} of the upgrade")


@pytest.mark.parametrize("seed", seeds(share=4))
def test_a_kill_while_a_killed_store_is_opened_loses_nothing(
    children: Children, tmp_path: Path, seed: int
) -> None:
    """Killed, and killed again at any statement of the next start: all that was acknowledged is there."""
    whole = children.whole(tmp_path / "whole.db", seed)
    for statement in spread(seed, whole.opened + 1, whole.statements):
        db = tmp_path / f"{statement}.db"
        run = killed(children, db, seed, statement)
        again = Random(f"again {seed} {statement}").randrange(1, 7)
        assert killed(children, db, seed, again).opened == 0
        check(db, run, f"seed {seed}, killed at statement {statement}, then at {again}")


@pytest.mark.parametrize("seed", seeds(share=2))
def test_what_a_torn_write_left_behind_the_log_does_no_harm(
    children: Children, tmp_path: Path, seed: int
) -> None:
    """Rubbish, zeros or pages of before behind the log's end: everything acknowledged is there."""
    whole = children.whole(tmp_path / "whole.db", seed)
    for statement in spread(seed, whole.opened + 1, whole.statements):
        db = tmp_path / f"{statement}.db"
        run = killed(children, db, seed, statement)
        kind = soil(db.with_name(f"{db.name}-wal"), Random(f"soil {seed} {statement}"))
        check(db, run, f"seed {seed}, killed at statement {statement}, {kind} behind the log")


def soil(log: Path, random: Random) -> str:
    """Write what a torn write may leave behind the end of a log; returns what it was."""
    written = log.read_bytes()
    start = random.randrange(len(written) + 1)
    kinds = {
        "rubbish": random.randbytes(random.randrange(1, 20_000)),
        "zeros": bytes(random.randrange(1, 20_000)),
        "pages of before": written[start : start + 20_000],
    }
    kind = random.choice(list(kinds))
    with log.open("ab") as file:
        file.write(kinds[kind])
    return kind


def test_a_fork_of_a_whole_conversation_is_made_wholly_or_not_at_all(
    children: Children, tmp_path: Path
) -> None:
    """Killed at any statement of such a fork, it is there with its own title, or is not there."""
    opened = children.run(tmp_path / "whole.db", "0:copy", "none").opened
    for statement in range(opened + 1, opened + 50, 3):
        db = tmp_path / f"{statement}.db"
        check(db, killed(children, db, "0:copy", statement), f"killed at statement {statement}")


@pytest.mark.parametrize("plan", ["0", "0:copy"])
def test_the_list_shows_what_a_killed_writer_wrote(children: Children, tmp_path: Path, plan: str) -> None:
    """Killed at any statement, the list shows the conversation's own title and what it was forked from."""
    opened = children.run(tmp_path / "whole.db", plan, "none").opened
    for statement in range(opened + 1, opened + 50, 3):
        db = tmp_path / f"{statement}.db"
        killed(children, db, plan, statement)
        with Store(db) as store:
            for info in store.list():
                conversation = store.open(info.id)
                told = (conversation.title, conversation.forked_from)
                assert (info.title, info.forked_from) == told, f"killed at statement {statement}"
