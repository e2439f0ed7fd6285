"""What is wrong with a document is named, each thing once, and the rest reads on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import pytest
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment

from crdt_conv import Conversation, ConversationId, HiddenField, MalformedUpdate, Message, MessageId, Problem
from crdt_conv.document.verify import AHEAD_MS, HIDING, Code, verify
from crdt_conv.ids import now_ms
from tests.crdt_conv import handmade as by_hand
from tests.replicas import Reader, copy_of, replica, restarted, texts

YEAR_9999_MS = 253_370_764_800_000
Found = list[tuple[str, str, str]]


def stranger(*roots: tuple[str, dict[str, Any]]) -> bytes:
    """Return an update of another program that writes entries into roots."""
    doc: Doc[Map[Any]] = Doc()
    for name, entries in roots:
        root = doc.get(name, type=Map)
        for key, value in entries.items():
            root[key] = value
    return doc.get_update()


def message(*parents: str, role: str = "user", **values: Any) -> Map[Any]:
    """Return a message as another program writes it."""
    return Map({"role": role, "parents": list(parents), **values})


def with_good_ones(update: bytes) -> Conversation:
    """Return a conversation that took in an update between two messages that are as they should be."""
    conversation = replica()
    first = conversation.append("user", "before")
    conversation.receive(update)
    conversation.append("user", "after", parents=[first.id])
    return conversation


def found(conversation: Conversation) -> Found:
    """Return what is wrong, in memory and after a restart the same."""
    problems = conversation.verify()
    assert list(problems) == list(restarted(conversation).verify())
    assert list(conversation.problems()) == [problem for problem in problems if problem.is_hiding]
    return [(problem.code, problem.root, problem.key) for problem in problems]


def odd_part(part_type: str) -> Array[Any]:
    """Return the parts of a message, one of them of a type of its own."""
    return Array([Map({"type": "text", "text": Text("odd")}), Map({"type": part_type})])


CODES: dict[str, tuple[bytes, Found]] = {
    "no Map": (stranger(("messages", {"m": 5})), [("malformed", "messages", "m")]),
    "no role": (stranger(("messages", {"m": Map({"parents": []})})), [("malformed", "messages", "m")]),
    "no parents": (stranger(("messages", {"m": Map({"role": "user"})})), [("malformed", "messages", "m")]),
    "odd parents": (stranger(("messages", {"m": message(1)})), [("malformed", "messages", "m")]),  # type: ignore[arg-type]
    "a missing parent": (
        stranger(("messages", {"m": message("gone")})),
        [("missing_parent", "messages", "m")],
    ),
    "behind a bad entry": (
        stranger(("messages", {"bad": 5, "m": message("bad")})),
        [("malformed", "messages", "bad"), ("missing_parent", "messages", "m")],
    ),
    "its own parent": (stranger(("messages", {"m": message("m")})), [("cycle", "messages", "m")]),
    "two in a circle": (
        stranger(("messages", {"m": message("n"), "n": message("m")})),
        [("cycle", "messages", "m"), ("cycle", "messages", "n")],
    ),
    "on a circle": (
        stranger(("messages", {"m": message("m"), "n": message("m"), "o": message("n")})),
        [
            ("cycle", "messages", "m"),
            ("missing_parent", "messages", "n"),
            ("missing_parent", "messages", "o"),
        ],
    ),
    "under a circle": (
        stranger(("messages", {"m": message("n", "root"), "n": message("m"), "root": message("gone")})),
        [("cycle", "messages", "m"), ("cycle", "messages", "n"), ("missing_parent", "messages", "root")],
    ),
    "an update that waits": (by_hand.entry(7, "m", clock=9), [("pending_update", "", "")]),
    "a delete that waits": (by_hand.only_deletes(by_hand.deletion(7, (0, 1))), [("pending_update", "", "")]),
    "an unknown root": (stranger(("moods", {"m": "merry"})), [("unknown_root", "moods", "")]),
    "a later schema": (stranger(("meta", {"schema": 2})), [("unknown_schema", "meta", "")]),
    "an odd schema": (stranger(("meta", {"schema": ["one"]})), [("unknown_schema", "meta", "")]),
    "an unknown role": (
        stranger(("messages", {"m": message(role="critic")})),
        [("unknown_role", "messages", "m")],
    ),
    "an unknown status": (
        stranger(("messages", {"m": message(status="pondering")})),
        [("unknown_status", "messages", "m")],
    ),
    "unknown parts": (
        stranger(("messages", {"m": message(parts=odd_part("hologram"))})),
        [("unknown_part", "messages", "m")],
    ),
    "an odd branch": (stranger(("branches", {"b": "main"})), [("malformed_branch", "branches", "b")]),
    "an odd choice": (stranger(("choices", {"m": 5})), [("malformed_choice", "choices", "m")]),
    "a blob that is not here": (
        stranger(("messages", {"m": message(parts=Array([Map({"type": "media", "sha256": "ab" * 32})]))})),
        [("missing_blob", "messages", "m")],
    ),
}


@pytest.mark.parametrize(("update", "expected"), CODES.values(), ids=CODES.keys())
def test_what_is_wrong_is_named(update: bytes, expected: Found) -> None:
    """Once, with its place; the messages around it read on."""
    conversation = with_good_ones(update)
    assert found(conversation) == expected
    assert {"before", "after"} <= set(texts(conversation.log().messages))


def test_nothing_is_wrong_with_what_we_write() -> None:
    """Streams, forks, merges, runs, drafts, hidden fields and redactions are all as they should be."""
    conversation = replica()
    first = conversation.append("user", "one", hidden=[HiddenField("p", "s", "k", b"x" * 70_000)])
    conversation.stream().write("two")
    conversation.fork("plan", first.id)
    conversation.append("assistant", "three", branch="plan")
    conversation.choose(conversation.heads("plan")[0].id)
    conversation.merge("plan")
    conversation.redact(first.id)
    conversation.set_draft("four")
    conversation.title = "Trip"
    assert found(conversation) == []


def test_every_code_is_reached() -> None:
    """The table leaves none out but two, which stand in tests of their own."""
    reached = {code for _, expected in CODES.values() for code, _, _ in expected}
    assert reached | {"refused_update", "future_clock"} == set(get_args(Code))


def test_only_some_of_it_hides_something() -> None:
    """An unknown role or root is shown or passed over; what can't be read or placed is missing."""
    assert {"malformed", "missing_parent", "cycle", "pending_update", "refused_update"} == HIDING
    assert Problem("cycle", "x").is_hiding
    assert not Problem("unknown_part", "x").is_hiding


def test_no_text_holds_what_was_said() -> None:
    """Problems may be logged and shown: they quote names, cut short, and never a message."""
    said = "said in confidence " * 5
    entries = {
        "a": message(role=said),
        "b": message(status=said),
        "c": message(parts=Array([Map({"type": said, "text": Text(said)})])),
        "d": said,
        "e": Map({"role": "user", "parents": said}),
    }
    problems = with_good_ones(stranger(("messages", entries), ("meta", {"schema": said}))).verify()
    assert len(problems) == 6
    assert not [problem for problem in problems if "confidence said in" in problem.text[45:]]
    assert not [problem for problem in problems if len(problem.text) > 100]


def test_a_parent_that_comes_later_clears_it() -> None:
    """What waited is placed, with all that stands on it."""
    conversation = with_good_ones(stranger(("messages", {"b": message("a"), "c": message("b")})))
    assert [(p.key, p.text) for p in conversation.verify()] == [
        ("b", "it waits for 1 parents: a"),
        ("c", "it waits for 1 parents: b"),
    ]
    conversation.receive(stranger(("messages", {"a": message()})))
    assert (found(conversation), {"a", "b", "c"} <= {m.id for m in conversation.messages()}) == ([], True)


def test_a_gap_that_closes_clears_it() -> None:
    """When what an update waited for has come nothing is wrong any more."""
    conversation = with_good_ones(by_hand.entry(7, "late", clock=3))
    assert found(conversation) == [("pending_update", "", "")]
    conversation.receive(by_hand.entry(7, "early"))
    assert (found(conversation), {"early", "late"} <= {m.id for m in conversation.messages()}) == ([], True)


def test_an_entry_that_is_mended_clears_it() -> None:
    """Whoever wrote something odd may write it again."""
    doc: Doc[Map[Any]] = Doc()
    doc.get("messages", type=Map)["m"] = Map({"role": 5, "parents": []})
    conversation = with_good_ones(doc.get_update())
    state = doc.get_state()
    doc.get("messages", type=Map)["m"]["role"] = "user"
    assert found(conversation) == [("malformed", "messages", "m")]
    conversation.receive(doc.get_update(state))
    assert found(conversation) == []


@pytest.mark.parametrize(("ahead_ms", "is_named"), [(AHEAD_MS - 60_000, False), (AHEAD_MS + 60_000, True)])
def test_a_clock_may_be_a_day_ahead(ahead_ms: int, *, is_named: bool) -> None:
    """Time zones and flat batteries are no problem; what comes from the day after tomorrow is one."""
    conversation = replica()
    conversation.receive(stranger(("messages", {"m": message(created=now_ms() + ahead_ms)})))
    assert (found(conversation) == [("future_clock", "messages", "m")]) is is_named


def test_the_year_9999_is_named_and_goes_on() -> None:
    """What is written on top of it is never behind it, so it is doubtful, too; all of it reads on."""
    conversation = replica()
    conversation.receive(stranger(("messages", {"m": message(created=YEAR_9999_MS)})))
    answer = conversation.append("user", "after")
    assert found(conversation) == [("future_clock", "messages", key) for key in ("m", answer.id)]
    assert texts(conversation.log().messages) == ["", "after"]


def test_a_circle_of_many_is_named_whole() -> None:
    """1,000 messages in a circle, and 1,000 that stand on it one on the other."""
    circle = {f"c{n}": message(f"c{(n + 1) % 1000}") for n in range(1000)}
    tail = {f"t{n}": message(f"t{n - 1}" if n else "c0") for n in range(1000)}
    problems = with_good_ones(stranger(("messages", {**tail, **circle}))).verify()
    assert {problem.key for problem in problems if problem.code == "cycle"} == circle.keys()
    assert {problem.key for problem in problems if problem.code == "missing_parent"} == tail.keys()


XML = {
    "an element": (by_hand.XML_ELEMENT, "p"),
    "a fragment": (by_hand.XML_FRAGMENT, None),
    "a text": (by_hand.XML_TEXT, None),
}


@pytest.mark.parametrize(("kind", "name"), XML.values(), ids=XML.keys())
def test_xml_is_named(kind: int, name: str | None) -> None:
    """XML, which pycrdt reads as a string, is malformed where a Map should be; as a choice it is none."""
    content = by_hand.type_of(kind, name)
    roots = ("messages", "branches", "choices", "meta", "moods")
    conversation = with_good_ones(by_hand.update(7, 0, [by_hand.item(content, root, "x") for root in roots]))
    assert found(conversation) == [
        ("unknown_root", "moods", ""),
        ("malformed_branch", "branches", "x"),
        ("malformed", "messages", "x"),
    ]


def test_a_root_of_another_type_is_passed_over() -> None:
    """Where another program took ``messages`` for XML, ours are read on."""
    doc: Doc[Any] = Doc()
    doc["messages"] = XmlFragment([XmlElement("p")])
    conversation = with_good_ones(doc.get_update())
    assert texts(conversation.log().messages) == ["before", "after"]
    assert found(conversation) == []


# The log


def test_an_update_that_can_t_be_integrated_is_named() -> None:
    """It stands in the log, from before or from a damaged file, and the rest is read."""
    good = stranger(("messages", {"m": message()}))
    reader = Reader([good, b"\xff\xff", b"no update"])
    problems = verify(reader.document, reader.index, lambda _: True)
    assert [(problem.code, problem.is_hiding) for problem in problems] == [("refused_update", True)]
    assert problems[0].text.startswith("2 ")
    assert "m" in reader.graph


KNOWN_CLIENT = {
    "behind what is known": 3,
    "at its beginning": 0,
    "after a gap": 5,
}


@pytest.mark.parametrize("clock", KNOWN_CLIENT.values(), ids=KNOWN_CLIENT.keys())
def test_a_client_without_structs_breaks_nothing(clock: int) -> None:
    """An update that names a client and inserts nothing for it is refused or harmless, for ever."""
    conversation = with_good_ones(by_hand.entry(7, "m"))
    nothing = b"\x01\x00\x07" + by_hand.number(clock)
    try:
        conversation.receive(nothing + by_hand.deletion(7, (0, 1)))
    except MalformedUpdate:
        assert "m" in conversation
    for reader in (conversation, restarted(conversation), copy_of(conversation)):
        assert [text for text in texts(reader.log().messages) if text] == ["before", "after"]


# Many

MANY = 20_000


class CountingReader(Reader):
    """A reader that counts how often a message's content is asked for."""

    asked = 0

    def _ask(self, message_ids: Sequence[MessageId]) -> list[Message]:
        self.asked += len(message_ids)
        return super()._ask(message_ids)


def chain(count: int) -> bytes:
    """Return an update with tiny messages, each on the one before, written by hand."""
    items: list[bytes] = []
    for number in range(count):
        entry = 7, len(items)
        parents = by_hand.array(*([by_hand.string(f"m{number - 1}")] if number else []))
        items.append(by_hand.item(by_hand.type_of(by_hand.MAP), "messages", f"m{number}"))
        items.append(by_hand.item(by_hand.values(by_hand.string("critic")), entry, "role"))
        items.append(by_hand.item(by_hand.values(parents), entry, "parents"))
    return by_hand.update(7, 0, items)


def test_20_000_tiny_messages_are_read_in_one_pass() -> None:
    """All are placed and looked at, and no content is asked for more than twice."""
    reader = CountingReader([chain(MANY)])
    assert len(reader.graph.lin_ids(f"m{MANY - 1}")) == MANY
    reader.asked = 0
    problems = verify(reader.document, reader.index, lambda _: True)
    assert [problem.code for problem in problems] == ["unknown_role"] * MANY
    assert reader.asked <= 2 * MANY


def test_20_000_messages_that_wait_are_named() -> None:
    """Without the first of them none is placed; with it all are."""
    conversation = replica(ConversationId("c"))
    conversation.receive(chain(MANY))
    conversation.receive(by_hand.only_deletes(by_hand.deletion(7, (0, 3))))
    assert [problem.code for problem in conversation.problems()] == ["missing_parent"] * (MANY - 1)
    conversation.receive(by_hand.entry(8, "m0"))
    assert (len(conversation), list(conversation.problems())) == (MANY, [])
