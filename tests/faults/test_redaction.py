"""SIGKILL at any moment of a redaction: after the next compaction nothing of it is in any file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crdt_conv import Store
from tests.crdt_conv.store.test_erasure import left
from tests.faults.redacting import BEFORE, REDACT
from tests.faults.runs import Children, seeds, spread


@pytest.fixture(scope="module")
def redacting() -> Iterator[Children]:
    """Return the way to redact in processes of their own."""
    children = Children("tests.faults.redacting")
    yield children
    children.close()


def folder(tmp_path: Path, name: object) -> Path:
    """Return where a store goes, in a folder of its own."""
    (tmp_path / str(name)).mkdir()
    return tmp_path / str(name) / "chats.db"


@pytest.mark.parametrize("who", REDACT)
@pytest.mark.parametrize("before", BEFORE)
def test_a_kill_at_any_statement_of_a_redaction_keeps_no_bytes(
    redacting: Children, tmp_path: Path, before: str, who: str
) -> None:
    """A redaction that is in the log is in no file after the next compaction: no text, blob, copy or fork."""
    how = f"{before} {who}"
    whole = redacting.run(folder(tmp_path, "whole"), how, 0)
    assert left(tmp_path / "whole" / "chats.db") == set()
    redacted = 0
    chosen = {at for seed in seeds(share=3) for at in spread(seed, whole.opened + 1, whole.statements + 1)}
    for statement in sorted(chosen):
        db = folder(tmp_path, statement)
        redacting.run(db, how, statement)
        with Store(db) as store:
            shown = {message.status for message in store.open("c").messages() if not message.text}
            if shown == {"redacted"}:
                redacted += 1
                store.compact()
                assert left(db) == set(), f"{how}, killed at statement {statement}"
            else:
                assert "the word" in left(db), f"{how}, killed at statement {statement}"
    assert redacted > 3
