"""Memory that was freed goes back to the system."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc

from crdt_conv import Store, garbage
from crdt_conv.garbage import MUCH_BYTES, collecting_later, give_back
from crdt_conv.store import keeper
from tests.crdt_conv import handmade as by_hand

STATUS = Path("/proc/self/status")


def resident_kb() -> int:
    """Return how much memory this process has."""
    found = re.search(r"VmRSS:\s+(\d+) kB", STATUS.read_text(encoding="ascii"))
    assert found
    return int(found[1])


@pytest.mark.skipif(not STATUS.exists() or garbage._trim() is None, reason="only glibc keeps what was freed")
def test_what_was_freed_goes_back() -> None:
    """Small pieces below one that is still in use, as a Y.Doc leaves them."""
    many = [by_hand.item(by_hand.values(by_hand.string(str(n))), "many", str(n)) for n in range(100_000)]
    update = by_hand.update(7, 0, many)
    del many
    before = resident_kb()
    doc: Doc[Any] = Doc()
    doc.apply_update(update)
    last = bytearray(1000)
    taken = resident_kb() - before
    del doc
    gc.collect()
    give_back()
    assert last
    assert resident_kb() - before < taken / 2


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A C library without it has nothing to be asked."""
    monkeypatch.setattr(garbage, "_trim", lambda: None)
    give_back()


def fails() -> None:
    """Fail while much is read."""
    with collecting_later(MUCH_BYTES):
        assert not gc.isenabled()
        raise LookupError


def test_garbage_is_looked_for_later_only_while_much_is_read() -> None:
    """And again afterwards, whatever happened."""
    with collecting_later(MUCH_BYTES - 1):
        assert gc.isenabled()
    with pytest.raises(LookupError):
        fails()
    assert gc.isenabled()


@pytest.mark.parametrize(("length", "expected"), [(MUCH_BYTES, True), (1_000, False)])
def test_a_large_compaction_gives_back_what_it_took(
    monkeypatch: pytest.MonkeyPatch, length: int, *, expected: bool
) -> None:
    """It builds a whole Y.Doc, which nobody needs behind it."""
    given: list[None] = []
    monkeypatch.setattr(keeper, "give_back", lambda: given.append(None))
    with Store(":memory:") as store:
        store.create().append("user", "x" * length)
        store.compact()
    assert bool(given) is expected
