"""Entries that we encode ourselves, against pycrdt, stock Yjs and the format's description."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text, merge_updates

from crdt_conv import InvalidMessage
from crdt_conv.document.document import Document, shared
from crdt_conv.yjs.encoding import Additions, ListOf, MapOf, TextOf
from tests.crdt_conv import handmade as by_hand
from tests.e2e.programs import NODE, node_is_missing

words = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("😀𝄞é\0\u2028"), max_size=8)
whole = st.integers(-(2**53) + 1, 2**53 - 1) | st.integers(-200, 200)
plain = st.recursive(
    st.none() | st.booleans() | whole | st.floats(allow_nan=False) | words | st.binary(max_size=200),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
texts = words.map(TextOf)
anything = st.recursive(
    plain | texts,
    lambda inner: (
        st.lists(inner, max_size=4).map(ListOf) | st.dictionaries(words, inner, max_size=4).map(MapOf)
    ),
    max_leaves=10,
)
entries = st.dictionaries(words, anything, max_size=4).map(MapOf)

Seen = dict[str, Any]


def exact(value: Any) -> Any:
    """Return a value so that equal ones are the same value: 1 is 1.0 but not true, 0.0 is not -0.0."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number", repr(float(value))
    return bytes(value) if isinstance(value, bytearray) else value


def shapes(value: Any) -> Any:
    """Return which shared types stand where."""
    if isinstance(value, Map):
        return {key: shapes(value[key]) for key in value.keys()}  # noqa: SIM118 - a Map has no other iterator
    if isinstance(value, Array):
        return [shapes(item) for item in value]
    return "text" if isinstance(value, Text) else "plain"


def root_of(doc: Doc[Any]) -> Map[Any]:
    """Return the root that everything is written into."""
    root: Map[Any] = doc.get("messages", type=Map)
    return root


def seen(doc: Doc[Any]) -> tuple[Any, Any]:
    """Return all that a document holds: values, and the types they have."""
    root = root_of(doc)
    return exact(root.to_py()), shapes(root)


def doc_of(*updates: bytes) -> Doc[Any]:
    """Return a document of pycrdt's that took in some updates."""
    doc: Doc[Any] = Doc()
    for update in updates:
        doc.apply_update(update)
    return doc


def written_by_pycrdt(*batches: Mapping[str, MapOf]) -> Doc[Any]:
    """Return a document in which pycrdt wrote some entries itself."""
    doc: Doc[Any] = Doc()
    for batch in batches:
        for key, entry in batch.items():
            root_of(doc)[key] = shared(entry)
    return doc


@given(entries)
def test_an_entry_reads_as_if_pycrdt_had_written_it(entry: MapOf) -> None:
    """Whatever is in it, values and types are the same."""
    update = Additions().encode("messages", {"m": entry})
    assert seen(doc_of(update)) == seen(written_by_pycrdt({"m": entry}))


@given(
    st.lists(st.lists(entries, min_size=1, max_size=2), min_size=2, max_size=4),
    st.randoms(use_true_random=False),
)
def test_updates_in_any_order_read_the_same(batches: list[list[MapOf]], random: Any) -> None:
    """Several in a row, one client's or two's, are one document however they are delivered."""
    named = [{f"{n}.{m}": entry for m, entry in enumerate(batch)} for n, batch in enumerate(batches)]
    clients = Additions(), Additions()
    updates = [clients[random.randrange(2)].encode("messages", batch) for batch in named]
    expected = seen(written_by_pycrdt(*named))
    assert seen(doc_of(*updates)) == expected
    random.shuffle(updates)
    assert seen(doc_of(merge_updates(*updates))) == expected
    assert seen(doc_of(Document(updates).encode())) == expected


def message(number: int) -> MapOf:
    """Return something like a message."""
    parts = ListOf([MapOf({"type": "text", "text": TextOf(f"Grüße 😀 {number}")}), MapOf({"type": "opaque"})])
    return MapOf(
        {"role": "user", "parents": [], "created": 2**41 + number, "parts": parts, "nonce": b"\0\xff"}
    )


def test_four_updates_in_every_order_read_the_same() -> None:
    """Each depends on the ones before; all 24 orders end in one document."""
    additions = Additions()
    named = [{str(n): message(n)} for n in range(4)]
    updates = [additions.encode("messages", batch) for batch in named]
    expected = seen(written_by_pycrdt(*named))
    assert all(seen(Document(order)._doc) == expected for order in permutations(updates))


def edit(doc: Doc[Any], key: str, entry: MapOf) -> None:
    """Change an entry in every way that streaming, sealing and redacting do."""
    root = root_of(doc)
    with doc.transaction():
        for name, value in entry.items():
            inside = root[key][name]
            if isinstance(inside, Text):
                inside += " 😀 more"
                inside.insert(0, "é")
            elif isinstance(inside, Array):
                inside.append(Map({"text": Text("new")}))
                inside.insert(0, "first")
            elif isinstance(inside, Map):
                inside["new"] = value
            else:
                root[key][name] = Array(["other"])
        root[key]["added"] = True


@given(entry=entries, more=st.booleans())
def test_an_entry_goes_on_in_pycrdt(*, entry: MapOf, more: bool) -> None:
    """Edited afterwards it is what it would be had pycrdt written it, and our client may go on meanwhile."""
    additions = Additions()
    ours = doc_of(additions.encode("messages", {"m": entry}))
    theirs = written_by_pycrdt({"m": entry})
    if more:
        ours.apply_update(additions.encode("messages", {"n": entry}))
        root_of(theirs)["n"] = shared(entry)
    for doc in (ours, theirs):
        edit(doc, "m", entry)
    assert seen(ours) == seen(theirs) == seen(doc_of(ours.get_update()))


def test_what_is_deleted_in_one_of_our_texts_is_the_same_for_all() -> None:
    """Clocks inside a text count UTF-16: a cut behind an astral character falls where it should."""
    update = Additions().encode("messages", {"m": MapOf({"text": TextOf("a😀b𝄞c"), "after": 1})})
    one, other = doc_of(update), doc_of(update)
    text = root_of(one)["m"]["text"]
    del text[len("a😀".encode()) : len("a😀b𝄞".encode())]
    other.apply_update(one.get_update(other.get_state()))
    assert seen(other) == seen(one)
    assert root_of(other).to_py() == {"m": {"text": "a😀c", "after": 1}}


# Against the format


def with_client(client: int) -> Additions:
    """Return additions of a client that is known, for once."""
    additions = Additions()
    additions._client = by_hand.number(client)
    return additions


PLAIN: dict[str, tuple[Any, bytes]] = {
    "nothing": (None, b"\x7e"),
    "true": (True, b"\x78"),
    "false": (False, b"\x79"),
    "0": (0, b"\x7d\x00"),
    "63": (63, b"\x7d\x3f"),
    "64": (64, b"\x7d\x80\x01"),
    "-1": (-1, b"\x7d\x41"),
    "-64": (-64, b"\x7d\xc0\x01"),
    "8191": (8191, b"\x7d\xbf\x7f"),
    "8192": (8192, b"\x7d\x80\x80\x01"),
    "31 bits": (2**31 - 1, b"\x7d\xbf\xff\xff\xff\x0f"),
    "31 bits below": (-(2**31) + 1, b"\x7d\xff\xff\xff\xff\x0f"),
    "more": (2**31, b"\x7b\x41\xe0\x00\x00\x00\x00\x00\x00"),
    "a fraction": (1.5, b"\x7b\x3f\xf8\x00\x00\x00\x00\x00\x00"),
    "minus nothing": (-0.0, b"\x7b\x80\x00\x00\x00\x00\x00\x00\x00"),
    "no words": ("", b"\x77\x00"),
    "words": ("é😀", b"\x77\x06\xc3\xa9\xf0\x9f\x98\x80"),
    "no bytes": (b"", b"\x74\x00"),
    "bytes": (b"\x00\xff", b"\x74\x02\x00\xff"),
    "a list": ([1, "a"], b"\x75\x02\x7d\x01\x77\x01a"),
    "a tuple": ((), b"\x75\x00"),
    "an object": ({"a": [None]}, b"\x76\x01\x01a\x75\x01\x7e"),
}


@pytest.mark.parametrize(("value", "expected"), PLAIN.values(), ids=PLAIN.keys())
def test_a_plain_value_is_encoded_as_lib0_says(value: Any, expected: bytes) -> None:
    """Tags and numbers are those of lib0's ``writeAny``, as JavaScript writes them."""
    update = with_client(7).encode("messages", {"m": MapOf({"x": value})})
    items = [
        by_hand.item(by_hand.type_of(by_hand.MAP), "messages", "m"),
        by_hand.item(by_hand.values(expected), (7, 0), "x"),
    ]
    assert update == by_hand.update(7, 0, items)


def test_clocks_go_on_from_update_to_update() -> None:
    """A text counts itself and its UTF-16 units, everything else counts one."""
    additions = with_client(300)
    additions.encode(
        "messages", {"m": MapOf({"t": TextOf("a😀"), "e": TextOf(""), "l": ListOf([1, [2, 3]])})}
    )
    # The Map, the Text and its three units, the empty Text, the Array and its two items.
    expected = by_hand.update(300, 9, [by_hand.item(by_hand.type_of(by_hand.MAP), "messages", "n")])
    assert additions.encode("messages", {"n": MapOf()}) == expected


LENGTHS = (0, 1, 127, 128, 16383, 16384)


@pytest.mark.parametrize("length", LENGTHS)
def test_lengths_beyond_a_byte_are_read(length: int) -> None:
    """Lists, texts, keys, bytes and words whose length takes one, two and three bytes come back."""
    entry = MapOf({
        "list": ListOf(range(min(length, 300))),
        "text": TextOf("é" * length),
        "words": "😀" * length,
        "bytes": b"\xff" * length,
        "plain": [None] * length,
        "k" * length: 1,
    })  # fmt: skip
    doc = doc_of(Additions().encode("messages", {"m": entry, "m" * length: MapOf()}))
    assert exact(root_of(doc).to_py()) == exact({"m": dict(entry) if length != 1 else {}, "m" * length: {}})


def test_a_thousand_entries_are_one_update() -> None:
    """All are there, and are counted."""
    additions = Additions()
    update = additions.encode("messages", {str(n): MapOf({"n": n}) for n in range(1000)})
    assert (len(root_of(doc_of(update))), additions.count) == (1000, 1000)


def test_no_entries_change_nothing() -> None:
    """An update without entries can be applied, too: Yjs has no client without structs."""
    additions = Additions()
    first = additions.encode("messages", {"m": MapOf({"n": 1})})
    assert root_of(doc_of(first, additions.encode("messages", {}))).to_py() == {"m": {"n": 1}}


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_a_number_that_json_lacks_is_read(number: float) -> None:
    """A Y.Doc can hold it."""
    doc = doc_of(Additions().encode("messages", {"m": MapOf({"n": number})}))
    assert repr(root_of(doc).to_py()) == repr({"m": {"n": number}})


def endless() -> list[Any]:
    """Return a list that holds itself."""
    value: list[Any] = []
    value.append(value)
    return value


REFUSED: dict[str, MapOf] = {
    "half a surrogate pair": MapOf({"x": "\ud800"}),
    "a text of it": MapOf({"x": TextOf("\udc00")}),
    "a key of it": MapOf({"\ud800": 1}),
    "a number beyond a double": MapOf({"x": 10**400}),
    "a set": MapOf({"x": {1}}),
    "something inside": MapOf({"x": ListOf([MapOf({"y": [object()]})])}),
    "a list in itself": MapOf({"x": endless()}),
}


@pytest.mark.parametrize("entry", REFUSED.values(), ids=REFUSED.keys())
def test_what_no_document_holds_is_refused(entry: MapOf) -> None:
    """It is an error of ours, and the client can go on as if nothing had been."""
    additions = Additions()
    first = additions.encode("messages", {"a": MapOf({"n": 1})})
    with pytest.raises(InvalidMessage):
        additions.encode("messages", {"b": MapOf(), "m": entry})
    second = additions.encode("messages", {"c": MapOf({"n": 2})})
    assert root_of(doc_of(first, second)).to_py() == {"a": {"n": 1}, "c": {"n": 2}}
    assert additions.count == 2


# Against stock Yjs

READ = """
import * as Y from 'yjs'
const pieces = []
for await (const piece of process.stdin) pieces.push(piece)
const doc = new Y.Doc()
const messages = doc.getMap('messages')
for (const line of String(Buffer.concat(pieces)).split('\\n')) Y.applyUpdate(doc, Buffer.from(line, 'hex'))
const all = (map, read) => Object.fromEntries(Object.entries(map).map(([key, value]) => [key, read(value)]))
const readable = (value) => value instanceof Uint8Array ? { bytes: [...value] }
  : Object.is(value, -0) ? { minus: 0 }
  : value instanceof Array ? value.map(readable)
  : value instanceof Object ? all(value, readable) : value
const type = (value) => value instanceof Y.AbstractType ? value.constructor.name : 'plain'
const types = [...messages.values()].map((entry) => [...entry.values()].map(type))
const pending = doc.store.pendingStructs !== null
process.stdout.write(JSON.stringify({ read: readable(messages.toJSON()), types, pending }))
"""


def read_by_yjs(updates: Sequence[bytes]) -> dict[str, Any]:
    """Return what stock Yjs in Node reads from some updates."""
    node = subprocess.run(
        ["node", "--input-type=module", "-e", READ],
        input="\n".join(update.hex() for update in updates),
        capture_output=True,
        text=True,
        check=True,
        cwd=NODE,
    )
    read: dict[str, Any] = json.loads(node.stdout)
    return read


@pytest.mark.skipif(bool(node_is_missing()), reason=node_is_missing())
def test_stock_yjs_reads_the_same() -> None:
    """Values and types are what was written, in Node, with the updates in the wrong order."""
    additions = Additions()
    shown: Seen = {
        "nothing": None,
        "-1": -1,
        "2**31": 2**31,
        "2**53-1": 2**53 - 1,
        "1.5": 1.5,
        "😀": ["é", {}],
    }
    first = MapOf(
        {**shown, "text": TextOf("a😀"), "list": ListOf([MapOf({"t": TextOf("")}), 1]), "map": MapOf()}
    )
    second = MapOf({"bytes": b"\0\xff", "minus": -0.0})
    updates = [additions.encode("messages", {key: entry}) for key, entry in (("a", first), ("b", second))]
    read = read_by_yjs(updates[::-1])
    assert read["read"]["a"] == {**shown, "text": "a😀", "list": [{"t": ""}, 1], "map": {}}
    assert read["read"]["b"] == {"bytes": {"bytes": [0, 255]}, "minus": {"minus": 0}}
    assert sorted(read["types"]) == [["plain"] * 2, [*["plain"] * 6, "YText", "YArray", "YMap"]]
    assert read["pending"] is False
