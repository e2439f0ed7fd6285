"""Full-text search: what is found, in which order, how it is marked, and what is found no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt_conv import MemoryEngine, Store, StoreError
from crdt_conv.conversation.writer import new_part
from crdt_conv.store import SqliteEngine
from tests.replicas import copy_of


def found(store: Store, words: str) -> list[str]:
    """Return the snippets of what is found."""
    return [entry.snippet for entry in store.search(words)]


QUERIES = [
    ("egg", ["Boil the [egg]", "Fry an [égg]"]),
    ("EGG", ["Boil the [egg]", "Fry an [égg]"]),
    ("boil egg", ["[Boil] the [egg]"]),
    ('"the egg"', ["Boil [the egg]"]),
    ('"egg the"', []),
    ("eg", []),
    ("egg omelette", []),
    ("", []),
    ('"', []),
    ("* ( -", []),
    ("egg AND", []),
    ("NEAR(egg)", []),
]


@pytest.mark.parametrize(("words", "expected"), QUERIES)
def test_words_are_found(words: str, expected: list[str]) -> None:
    """Each row finds what a person would expect, whatever the case and the accents."""
    with Store(":memory:") as store:
        conversation = store.create()
        for text in ("Boil the egg", "Fry an égg", "Wash the salad"):
            conversation.append("user", text)
        assert sorted(found(store, words)) == sorted(expected)


def test_the_best_is_first() -> None:
    """A message that says a word often, and little else, comes before one that says it by the way."""
    with Store(":memory:") as store:
        conversation = store.create()
        conversation.append("user", f"{'other words ' * 50} tea {'and more ' * 50}")
        best = conversation.append("user", "tea, tea, tea")
        results = store.search("tea")
        assert results[0].message == best.id
        assert results[0].rank < results[1].rank
        assert "…" in results[1].snippet


def test_reasoning_and_results_are_found() -> None:
    """All visible text is searched, tool results and names of attachments too."""
    with Store(":memory:") as store:
        conversation = store.create()
        parts = [
            new_part("reasoning", text="think"),
            new_part("tool_result", call_id="1", content="sunny"),
            new_part("media", mime="text/plain", sha256="0" * 64, size=1, name="packing.txt"),
        ]
        conversation.append("assistant", "said", parts=parts)
        assert [len(found(store, word)) for word in ("said", "think", "sunny", "packing")] == [1, 1, 1, 1]


def test_a_stream_is_found_when_it_has_ended() -> None:
    """A message is found by all of its text, and only once."""
    with Store(":memory:") as store:
        conversation = store.create()
        writer = conversation.stream()
        writer.write("To the ")
        store.search("sea")
        writer.write("sea")
        writer.finish()
        assert found(store, "sea") == ["To the [sea]"]
        assert found(store, "the") == ["To [the] sea"]


def test_only_one_conversation_is_searched_where_asked() -> None:
    """A limit holds, and so does the choice of a conversation."""
    with Store(":memory:") as store:
        one, other = store.create(), store.create()
        for conversation in (one, other, other):
            conversation.append("user", "tea")
        assert {entry.conversation for entry in store.search("tea", conversation=one.id)} == {one.id}
        assert len(store.search("tea", limit=2)) == 2
        assert store.search("tea", conversation="nobody") == []


def test_what_another_device_wrote_is_found() -> None:
    """Messages that were received are searched like our own."""
    with Store(":memory:") as store:
        conversation = store.create()
        other = copy_of(conversation)
        other.append("user", "from afar")
        conversation.receive(other.encode(), "peer")
        assert found(store, "afar") == ["from [afar]"]


def test_what_was_not_indexed_before_a_crash_is_found(tmp_path: Path) -> None:
    """The search index is derived: emptied, it is made again."""
    path = tmp_path / "chats.db"
    with Store(path) as store:
        store.create().append("user", "tea")
    with Store(path) as store:
        assert isinstance(store.engine, SqliteEngine)
        store.engine.index.clear()
        assert found(store, "tea") == ["[tea]"]
    with Store(path, read_only=True) as reader:
        assert found(reader, "tea") == ["[tea]"]


@given(st.text(max_size=30))
def test_no_query_is_an_error(words: str) -> None:
    """Whatever people type is words, never an operator and never an error."""
    with Store(":memory:") as store:
        store.create().append("user", "tea")
        assert len(store.search(words)) <= 1


def test_an_engine_without_an_index_says_so() -> None:
    """Where nothing is indexed, searching is an error of ours."""
    with Store(engine=MemoryEngine()) as store, pytest.raises(StoreError, match="no index"):
        store.search("tea")
