"""Values and types nested without end, in processes of their own: one that dies fails its test alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
from crdt_conv import MalformedUpdate, Store
from tests.crdt_conv import handmade as by_hand
from tests.replicas import copy_of, restarted, texts

conversation = Store(":memory:").join("c")
conversation.append("user", "before")
for update in {updates}:
    try:
        conversation.receive(update)
    except MalformedUpdate:
        print("refused")
conversation.append("user", "after")
for reader in (conversation, restarted(conversation), copy_of(conversation)):
    assert {{"before", "after"}} <= set(texts(reader.log().messages))
    reader.verify()
"""


def outlive(updates: str) -> str:
    """Have a process receive what an expression makes, read on, and end by itself; returns what it says."""
    script = SCRIPT.format(updates=updates)
    done = subprocess.run([sys.executable, "-c", script], check=False, cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


LONG = "[by_hand.item((4, by_hand.words('just a text, and unusual')), 't')] * 20_000"


@pytest.mark.parametrize("root", ["messages", "unheard of"])
@pytest.mark.parametrize("inner", [b"\x75\x01", b"\x76\x01\x01k"], ids=["lists", "objects"])
@pytest.mark.parametrize("before", ["[]", LONG], ids=["alone", "behind half a megabyte"])
def test_values_nested_deeply_are_refused(root: str, inner: bytes, before: str) -> None:
    """100,000 lists or objects in each other, in a short update or a long one."""
    deep = f"by_hand.item(by_hand.values({inner!r} * 100_000 + by_hand.NULL), {root!r}, 'm')"
    assert outlive(f"[by_hand.update(7, 0, {before} + [{deep}])]") == "refused\n"


KINDS = {
    "Maps": "by_hand.type_of(by_hand.MAP), {depth}, 'parts'",
    "Arrays": "by_hand.type_of(by_hand.ARRAY), {depth}",
    "XML": "by_hand.type_of(by_hand.XML_ELEMENT, 'p'), {depth}",
}


CASES = [
    ("choices", "Maps", 100_000, 100_000),
    *(("choices", kind, 40_000, 40_000) for kind in ("Arrays", "XML")),
    *((root, "Maps", 40_000, 20_000) for root in ("choices", "messages", "drafts", "unheard of")),
]


@pytest.mark.parametrize(("root", "kind", "depth", "each"), CASES)
def test_types_nested_deeply_harm_nobody(root: str, kind: str, depth: int, each: int) -> None:
    """Types in each other, in one update or in several; deleting them does no harm either."""
    nest = f"by_hand.nest({root!r}, {KINDS[kind].format(depth=depth)})"
    delete = "by_hand.only_deletes(by_hand.deletion(7, (0, 1)))"
    assert outlive(f"by_hand.in_pieces({nest}, {each}) + [{delete}]") == ""


STORE = """
from crdt_conv import Store
from crdt_conv.engine import Row
from tests.crdt_conv import handmade as by_hand
from tests.replicas import texts

with Store({path!r}) as store:
    conversation = store.join("c")
    conversation.append("user", "before")
    deep = by_hand.item(by_hand.values(by_hand.nested(100_000)), "messages", "m")
    # As somebody may write who does not go through a store.
    store.engine.append([Row(conversation.id, by_hand.update(7, 0, [deep]))], at_ms=5)
with Store({path!r}) as store:
    assert [damage.what for damage in store.check()] == ["update"]
    conversation = store.open("c")
    assert texts(conversation.log().messages) == ["before"]
    assert "refused_update" in {{problem.code for problem in conversation.problems()}}
    conversation.append("user", "after")
    assert conversation.document.refused == 1
"""


def test_a_store_that_holds_what_is_nested_reads_on(tmp_path: Path) -> None:
    """Of a file that somebody else wrote to, the check names the update; the rest is read without it."""
    script = STORE.format(path=str(tmp_path / "theirs.db"))
    done = subprocess.run([sys.executable, "-c", script], check=False, cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
