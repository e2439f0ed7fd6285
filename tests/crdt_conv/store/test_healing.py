"""A damaged stored index heals: nobody reads anything wrong, the log is untouched, and it is made anew."""

from __future__ import annotations

import logging
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from crdt_conv import Store, StoreCorrupt, StoreError
from crdt_conv.store.sqlite import renewal
from tests.crdt_conv.store.test_check import KEY, LOG, flip
from tests.crdt_conv.store.wholes import Whole, rows_of, spoil
from tests.replicas import sqlite_of

DERIVED = ("indexes", "messages", "pages", "messages_with_blobs", "sqlite_autoindex_indexes_1")


@pytest.fixture
def path(whole: Whole, tmp_path: Path) -> Path:
    """Return a copy of a store that nothing is wrong with."""
    return Path(shutil.copy(whole.path, tmp_path / "chats.db"))


def derived_pages(whole: Whole) -> list[int]:
    """Return the pages on which nothing but the stored index stands."""
    return [page for page, (name, _) in whole.tables.items() if name in DERIVED or name.startswith("found_")]


def assert_all_is_read(store: Store, whole: Whole) -> None:
    """Check that every conversation says what it said, by its end and whole, and that words are found."""
    for conversation_id, said in whole.said.items():
        conversation = store.open(conversation_id)
        assert {m.id: m.text for m in conversation.log(last=3).messages}.items() <= said.items()
        assert {m.id: m.text for m in conversation.messages()} == said
        assert conversation.log().digest.hex() == whole.digests[conversation_id]
    texts = [text for said in whole.said.values() for text in said.values()]
    assert len(store.search("about", limit=100)) == sum(text.startswith("about") for text in texts)


def assert_healed(path: Path, whole: Whole) -> None:
    """Check that a store reads as it was, that the log is untouched, and that nothing is wrong then."""
    with Store(path) as store:
        assert_all_is_read(store, whole)
        damages = store.check()
        # What no reader has met: a page of the search index that holds other words.
        assert all(damage.is_derived for damage in damages)
        if damages:
            store.clear_index()
            assert_all_is_read(store, whole)
    with Store(path) as store:
        assert (list(store.check()), list(store.healed)) == ([], [])
    assert rows_of(path) == whole.rows


def test_rubbish_on_any_page_of_the_index_heals(whole: Whole, tmp_path: Path) -> None:
    """Whichever page of derived tables is rubbish: everything reads as it was, and no damage is left."""
    pages = derived_pages(whole)
    for page in pages:
        path = Path(shutil.copy(whole.path, tmp_path / f"{page}.db"))
        spoil(path, page)
        assert_healed(path, whole)
    assert len(pages) >= 12


def test_a_page_of_the_log_in_the_place_of_one_of_the_index_heals(whole: Whole, tmp_path: Path) -> None:
    """A misdirected write has no page of the log freed, though the index seems to own it."""
    written = whole.path.read_bytes()
    sources = [page for page, (name, _) in whole.tables.items() if name in {"updates", "blobs"}]
    chosen = random.Random(1)
    for page in derived_pages(whole):
        path = tmp_path / f"{page}.db"
        source = chosen.choice(sources)
        copied = written[4096 * (source - 1) : 4096 * source]
        path.write_bytes(written[: 4096 * (page - 1)] + copied + written[4096 * page :])
        assert_healed(path, whole)


ROWS = [
    f"update messages set status = 'failed' {KEY} and place = 3",
    f"update messages set place = 99 {KEY} and place = 3",
    f"update messages set page = 99 {KEY} and place = 3",
    f"delete from messages {KEY} and place = 13",
    flip("messages", "content", f"{KEY} and place = 12"),
    flip("pages", "data", KEY),
    f"update indexes set seq = seq - 1 {LOG}",
    f"update indexes set tails = replace(tails, ', 14, ', ', 13, ') {LOG}",
    f"update indexes set roots = '{{}}' {LOG}",
    f"update indexes set quarantined = 'rubbish' {LOG}",
    "drop table pages",
]


def damage(path: Path, statement: str) -> None:
    """Change what stands in a store."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize("statement", [*ROWS, "delete from indexes"])
def test_wrong_rows_of_the_index_heal(path: Path, whole: Whole, statement: str) -> None:
    """A row that is not as it was written, or missing, is never believed."""
    damage(path, statement)
    assert_healed(path, whole)


@pytest.mark.parametrize("statement", ROWS)
def test_a_reader_reads_the_log_instead(path: Path, whole: Whole, statement: str) -> None:
    """Opened for reading, a store with such a row says what was written, and changes nothing."""
    damage(path, statement)
    before = path.read_bytes()
    with Store(path, read_only=True) as store:
        for conversation_id, said in whole.said.items():
            conversation = store.open(conversation_id)
            assert {m.id: m.text for m in conversation.log(last=3).messages}.items() <= said.items()
            assert {m.id: m.text for m in conversation.messages()} == said
    assert path.read_bytes() == before


def test_it_is_told(path: Path, whole: Whole, caplog: pytest.LogCaptureFixture) -> None:
    """A warning names the file and what happened, and so does the store; the check called it derived."""
    spoil(path, next(page for page in derived_pages(whole) if whole.tables[page][0] == "messages"))
    with Store(path, read_only=True) as reader:
        damages = reader.check()
        assert damages
        assert [damage for damage in damages if not damage.is_derived] == []
    with caplog.at_level(logging.WARNING), Store(path) as store:
        store.open(next(iter(whole.said))).log()
        assert [damage.what for damage in store.healed] == ["index"]
    assert f"{path}: the stored index was damaged" in caplog.text


def append(store: Store, whole: Whole) -> None:
    """Write a message into each."""
    for conversation_id in whole.said:
        store.open(conversation_id).append("user", "more")


def redact(store: Store, whole: Whole) -> None:
    """Redact a message of each."""
    for conversation_id, said in whole.said.items():
        if said:
            store.open(conversation_id).redact(next(iter(said)))


def delete(store: Store, whole: Whole) -> None:
    """Delete all."""
    for conversation_id in whole.said:
        store.delete(conversation_id)


@pytest.mark.parametrize("act", [append, redact, delete, lambda store, _: store.search("about")])
@pytest.mark.parametrize("statement", ROWS)
def test_whatever_meets_the_damage_goes_on(
    path: Path, whole: Whole, statement: str, act: Callable[[Store, Whole], object]
) -> None:
    """Damage that comes while conversations are open keeps nothing from being done."""
    with Store(path) as store:
        live = [store.open(conversation_id) for conversation_id in whole.said]
        assert all(one.title for one in live if len(one))
        sqlite_of(store).execute(statement)
        act(store, whole)
        store.compact()
    with Store(path) as store:
        for info in store.list():
            assert whole.said[info.id].keys() <= {message.id for message in store.open(info.id).messages()}
        store.reindex()
        assert list(store.check()) == []


def test_a_damaged_log_is_left_as_it_is(path: Path, whole: Whole) -> None:
    """Where more than the index is damaged nothing is thrown away, and the error names the way out."""
    pages = {name: page for page, (name, kind) in whole.tables.items() if kind == "leaf"}
    spoil(path, pages["messages"])
    spoil(path, pages["updates"])
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="recover"), Store(path) as store:
        store.clear_index()
    assert path.read_bytes() == before


@pytest.mark.parametrize("undone", ["make_again", "INDEX"])
def test_a_crash_while_it_is_thrown_away_is_made_good(
    path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch, undone: str
) -> None:
    """A process that ended before the file was written anew, or the tables made, leaves that to the next."""
    with monkeypatch.context() as patch, Store(path) as store:
        patch.setattr(renewal, undone, (lambda _: None) if undone == "make_again" else ("no statement",))
        with suppress(StoreError):
            store.clear_index()
        assert sqlite_of(store).execute("select * from sqlite_schema where name = 'pages'").fetchall() == []
    with Store(path, read_only=True) as reader:
        shown = {m.id: m.text for m in reader.open(next(iter(whole.said))).messages()}
        assert shown == next(iter(whole.said.values()))
    assert_healed(path, whole)
