"""Checkpoints in their folder: found, kept within a budget, and never trusted."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.llamacpp.checkpoints import (
    BLOCK,
    SWEEP_AFTER_S,
    Checkpoints,
    Found,
    Identity,
    hash_model,
)

MINE = Identity("a" * 64, "build 1", 4096)
LONG = tuple(range(100))


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    """Return an empty folder with room for a few."""
    made = Checkpoints(tmp_path / "slots", budget=10_000)
    made.prepare()
    return made


def add(
    checkpoints: Checkpoints, tokens: Sequence[int], *, identity: Identity = MINE, size: int = 1000
) -> str:
    """Write a file as a server would, and make it a checkpoint."""
    checkpoint_id = checkpoints.new_id()
    (checkpoints.folder / f"{checkpoint_id}.bin").write_bytes(os.urandom(size))
    checkpoints.add(checkpoint_id, identity, tokens)
    return checkpoint_id


def found(checkpoints: Checkpoints, tokens: Sequence[int], *, is_whole: bool = False) -> Found | None:
    """Look with the eyes of another process: nothing is remembered."""
    return Checkpoints(checkpoints.folder).find(MINE, tokens, is_whole=is_whole)


def test_the_longest_beginning_is_found(checkpoints: Checkpoints) -> None:
    """Of two branches the one that a prompt goes on from, to the token where its end is known."""
    add(checkpoints, (*LONG, 7, 7, 7))
    best = add(checkpoints, (*LONG, 8, 8))
    hit = found(checkpoints, (*LONG, 8, 8, 9))
    assert hit is not None
    assert (hit.id, hit.common) == (best, len(LONG) + 2)


def test_a_branch_finds_what_it_has_in_common(checkpoints: Checkpoints) -> None:
    """In the middle of a checkpoint the common beginning is known by blocks."""
    add(checkpoints, LONG)
    hit = found(checkpoints, (*LONG[:70], 999))
    assert hit is not None
    assert hit.common == 70 // BLOCK * BLOCK


def test_a_state_that_can_not_be_cut_is_taken_whole_or_not(checkpoints: Checkpoints) -> None:
    """Models with recurrence go on where a checkpoint ends, and nowhere else."""
    add(checkpoints, LONG)
    assert found(checkpoints, (*LONG[:70], 999), is_whole=True) is None
    assert found(checkpoints, LONG[:-1], is_whole=True) is None
    assert found(checkpoints, (*LONG, 1), is_whole=True) is not None


@pytest.mark.parametrize(
    "other",
    [
        replace(MINE, model="b" * 64),
        replace(MINE, build="build 2"),
        replace(MINE, context_tokens=8192),
        replace(MINE, cache_k="q8_0"),
        replace(MINE, cache_v="q8_0"),
        replace(MINE, flash_attention="on"),
    ],
)
def test_what_another_model_or_build_wrote_is_not_found(checkpoints: Checkpoints, other: Identity) -> None:
    """The server would restore it: same shape, other numbers."""
    add(checkpoints, LONG, identity=other)
    assert found(checkpoints, LONG) is None


@given(st.integers(0, 999), st.integers(0, 7))
def test_a_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    """Whichever it is, the file is deleted and not restored."""
    made = Checkpoints(tmp_path_factory.mktemp("slots"))
    path = made.folder / f"{add(made, LONG)}.bin"
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1 << bit
    path.write_bytes(damaged)
    hit = found(made, LONG)
    assert hit is not None
    assert not made.is_intact(hit)
    assert not list(made.folder.glob("*.*"))


@pytest.mark.parametrize("length", [0, 1, 999, None])
def test_a_file_that_is_cut_off_or_gone_is_noticed(checkpoints: Checkpoints, length: int | None) -> None:
    """A shorter file costs no hashing, and a missing one is no error."""
    path = checkpoints.folder / f"{add(checkpoints, LONG)}.bin"
    hit = found(checkpoints, LONG)
    assert hit is not None
    assert checkpoints.is_intact(hit)
    if length is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:length])
    assert not checkpoints.is_intact(hit)
    assert found(checkpoints, LONG) is None


@pytest.mark.parametrize(
    "manifest",
    ["", "{", "[]", "null", '{"version": 1}', '{"version": 99}', '{"version": 1, "identity": {}}'],
)
def test_a_manifest_that_is_none_is_passed_over(checkpoints: Checkpoints, manifest: str) -> None:
    """Another version's, half of one, or rubbish: the others are found."""
    (checkpoints.folder / "odd.json").write_text(manifest)
    add(checkpoints, LONG)
    assert found(checkpoints, LONG) is not None


@pytest.mark.parametrize(
    ("key", "value"), [("tokens", "3"), ("digest", None), ("blocks", 3), ("identity", []), ("more", 1)]
)
def test_a_manifest_with_odd_values_is_passed_over(checkpoints: Checkpoints, key: str, value: object) -> None:
    """Values of other types don't get as far as being compared."""
    path = checkpoints.folder / f"{add(checkpoints, LONG)}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert found(checkpoints, LONG) is None


def test_the_least_recently_used_goes_first(checkpoints: Checkpoints) -> None:
    """Ten fit: of eleven the one goes that was of no use for the longest time."""
    ids = [add(checkpoints, (number, *LONG)) for number in range(10)]
    for age, checkpoint_id in enumerate(reversed(ids)):
        os.utime(checkpoints.folder / f"{checkpoint_id}.json", (1000 - age, 1000 - age))
    hit = found(checkpoints, (0, *LONG))
    assert hit is not None
    checkpoints.touch(hit)
    add(checkpoints, (11, *LONG))
    assert found(checkpoints, (0, *LONG)) is not None
    assert found(checkpoints, (1, *LONG)) is None
    assert sum(path.stat().st_size for path in checkpoints.folder.glob("*.bin")) <= 10_000


def test_one_that_is_larger_than_the_budget_is_not_kept(checkpoints: Checkpoints) -> None:
    """It would push out all others, and itself."""
    kept = add(checkpoints, LONG)
    add(checkpoints, (9, *LONG), size=10_001)
    assert [path.stem for path in checkpoints.folder.glob("*.bin")] == [kept]
    assert not checkpoints.has_room_for(10_001)


def test_a_longer_one_takes_the_place_of_a_shorter_one(checkpoints: Checkpoints) -> None:
    """A conversation that goes on has one checkpoint, and a branch of it another."""
    add(checkpoints, LONG[:50])
    branch = add(checkpoints, (*LONG[:50], 999))
    longer = add(checkpoints, LONG)
    assert {path.stem for path in checkpoints.folder.glob("*.bin")} == {branch, longer}


def test_a_crash_while_saving_leaves_nothing_that_is_read(checkpoints: Checkpoints) -> None:
    """A file without a manifest is no checkpoint, and is swept away when nobody can be writing it."""
    orphan = checkpoints.folder / "half.bin"
    orphan.write_bytes(b"half")
    (checkpoints.folder / "alone.json.tmp").write_text("{")
    assert found(checkpoints, LONG) is None
    Checkpoints(checkpoints.folder).prepare()
    assert orphan.exists()
    old = time.time() - SWEEP_AFTER_S - 1
    for path in checkpoints.folder.glob("*.*"):
        os.utime(path, (old, old))
    Checkpoints(checkpoints.folder).prepare()
    assert not list(checkpoints.folder.glob("*.*"))


def test_two_processes_share_a_folder(checkpoints: Checkpoints) -> None:
    """What one deletes, the other has not found, or finds gone: neither is an error."""
    other = Checkpoints(checkpoints.folder)
    checkpoint_id = add(checkpoints, LONG)
    hit = other.find(MINE, LONG)
    assert hit is not None
    checkpoints.delete(checkpoint_id)
    other.touch(hit)
    assert not other.is_intact(hit)
    assert other.find(MINE, LONG) is None


def test_nobody_else_may_read_them(checkpoints: Checkpoints) -> None:
    """They hold what was said."""
    add(checkpoints, LONG)
    modes = {path.stat().st_mode & 0o077 for path in (checkpoints.folder, *checkpoints.folder.iterdir())}
    assert modes == {0}


def test_a_models_digest_is_remembered_while_the_file_is_the_same(tmp_path: Path) -> None:
    """Tens of gigabytes are not hashed with every start; another file under the name is noticed."""
    model, folder = tmp_path / "m.gguf", tmp_path / "slots"
    model.write_bytes(b"GGUF1")
    first = hash_model(model, folder)
    assert hash_model(model, folder) == first
    model.write_bytes(b"GGUF2")
    os.utime(model, (1, 1))
    assert hash_model(model, folder) != first
