"""The check, with real damage: one byte or row that is not as it was written, rubbish on every page."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from crdt_conv import (
    MemoryEngine,
    Store,
    StoreError,
    new_part,
)
from crdt_conv.ids import ConversationId
from tests.crdt_conv.store.wholes import (
    Whole,
    named,
    spoiled,
)


@pytest.fixture
def path(whole: Whole, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copy(whole.path, tmp_path / "chats.db"))


def found(store: Store, titles: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return what a check names, by kind and title of the conversation."""
    return {(damage.what, titles.get(damage.conversation or "", "")) for damage in store.check()}


def flip(table: str, column: str, where: str) -> str:
    """Return a statement that changes the first byte of a value, and nothing else."""
    return f"update {table} set {column} = cast(x'fe' || substr({column}, 2) as blob) {where}"


OF_LOG = "(select id from conversations where title = 'Log')"
LOG = f"where conversation = {OF_LOG}"
KEY = f"where key = (select key from indexes {LOG})"
DAMAGES = [
    (flip("updates", "data", f"{LOG} and seq % 2"), {("update", "Log")}),
    (flip("snapshots", "data", ""), {("snapshot", "Compacted")}),
    (flip("blobs", "data", ""), {("blob", "")}),
    ("delete from blobs where length(data) < 10", {("blob", "Compacted")}),
    (
        f"update updates set data = x'0102', crc = {zlib.crc32(bytes([1, 2]))} {LOG} and seq % 2",
        {("update", "Log")},
    ),
    (f"update conversations set title = 'Other' where id = {OF_LOG}", {("list", "Log")}),
    (f"delete from conversations where id = {OF_LOG}", {("list", "Log")}),
    (f"update conversations set archived = 1 where id = {OF_LOG}", {("list", "Log")}),
    (flip("messages", "content", f"{KEY} and place = 3"), {("index", "Log")}),
    (f"update messages set status = 'failed' {KEY} and place = 3", {("index", "Log")}),
    (f"delete from messages {KEY} and place = 3", {("index", "Log")}),
    (f"delete from messages {KEY} and place = 13", {("index", "Log")}),
    (flip("pages", "data", f"{KEY}"), {("index", "Log")}),
    (f"update indexes set tails = replace(tails, ', 14, ', ', 13, ') {LOG}", {("index", "Log")}),
    (f"update indexes set roots = '{{}}' {LOG}", {("index", "Log")}),
    (f"update indexes set quarantined = 'rubbish' {LOG}", {("index", "Log")}),
    (
        f"insert into found (rowid, text) select (key << 32) + 3, 'a word too many' from indexes {LOG}",
        {("index", "Log")},
    ),
    (
        "insert into found (found) values ('delete-all')",
        {("index", t) for t in ("Compacted", "Log", "Fork", "Long")},
    ),
]


@pytest.mark.parametrize(("statement", "expected"), DAMAGES)
def test_a_check_names_what_is_wrong(
    path: Path, whole: Whole, statement: str, expected: set[tuple[str, str]]
) -> None:
    """One byte or row that is not as it was written is named, with its conversation, and nothing else is."""
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement).rowcount != 0
    with Store(path, read_only=True) as store:
        named = found(store, whole.titles)
        assert {what for what in named if what[0] != "index"} <= expected
        assert expected <= named
    if {what for what, _ in expected} == {"index"}:
        with Store(path) as store:
            store.clear_index()
            store.reindex()
            assert list(store.check()) == []


def test_a_check_names_each_row(path: Path) -> None:
    """Of a log, exactly the updates are named that say something else, can't be read, or never were one."""
    with closing(sqlite3.connect(path)) as connection, connection:
        seqs = [str(row[0]) for row in connection.execute(f"select seq from updates {LOG} order by seq")]
        connection.create_function("reworded", 1, lambda data: data.replace(b"about", b"above"))
        connection.execute("update updates set data = reworded(data) where seq = ?", (seqs[3],))
        connection.execute(flip("updates", "data", f"where seq = {seqs[5]}"))
        changed = (b"\1\2", zlib.crc32(b"\1\2"), seqs[7])
        connection.execute("update updates set data = ?, crc = ? where seq = ?", changed)
    with Store(path, read_only=True) as store:
        assert [(damage.what, damage.key) for damage in store.check()] == [
            ("update", seqs[number]) for number in (3, 5, 7)
        ]


def test_a_check_compares_every_message(path: Path) -> None:
    """A stored message that has another author than in the document is named by its id."""
    with closing(sqlite3.connect(path)) as connection, connection:
        ids = {row[0] for row in connection.execute(f"select id from messages {KEY}")}
        # In no checksum of the index, nor found by any word.
        connection.create_function("forged", 1, forged)
        connection.execute(f"update pages set data = forged(data) {KEY}")
    with Store(path, read_only=True) as store:
        assert {damage.key for damage in store.check() if damage.is_derived} == ids


def forged(page: bytes) -> bytes:
    """Return a page of the stored index whose messages somebody else wrote."""
    return zlib.compress(zlib.decompress(page).replace(b'"human"', b'"model"'))


def test_a_check_beside_a_writer_finds_nothing(path: Path) -> None:
    """While conversations grow at every step, all is as it was at the beginning; the steps are told."""
    told: list[tuple[int, int]] = []
    with Store(path) as store:
        conversation = store.create("Busy")

        def meanwhile(done: int, total: int) -> None:
            told.append((done, total))
            for number in range(70):
                conversation.append("user", f"{done} {number}")

        assert list(store.check(meanwhile)) == []
        assert list(store.check()) == []
    assert told == [(done, len(told)) for done in range(len(told))]
    assert len(told) > 7


def test_a_check_of_other_engines() -> None:
    """In memory all is read too; an engine of somebody else's is read as far as the seam goes."""
    for store in (Store(":memory:"), Store(engine=MemoryEngine())):
        conversation = store.create("Trip")
        conversation.append("user", "kept", parts=[conversation.attach_bytes(b"1", mime="x/y")])
        assert list(store.check()) == []
        assert list(store.check()) == []
        conversation.append(
            "user", "look", parts=[new_part("media", mime="x/y", sha256="0" * 64, size=1, name="")]
        )
        assert found(store, {conversation.id: "Trip"}) == {("blob", "Trip")}
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.check()


def test_a_cleared_index_is_made_anew_by_who_is_open(path: Path, whole: Whole) -> None:
    """A conversation that is in memory stores all of its index again, not only what is new."""
    with Store(path) as store:
        live = [store.open(info.id) for info in store.list()]
        for conversation in live:
            conversation.append("user", "new, and findable")
        store.clear_index()
        live[0].append("user", "newer, and findable")
        store.reindex()
        assert list(store.check()) == []
        assert len(store.search("findable")) == len(live) + 1
        assert {
            one.id: {m.id for m in one.messages()} >= set(whole.said[one.id]) for one in live
        } == dict.fromkeys(whole.said, True)


# Rubbish on every page


def ways_to_read(store: Store, conversation_id: str) -> Iterator[Callable[[], Mapping[str, object]]]:
    """Yield every way to read a conversation; each returns texts by message, or updates by number."""
    fresh = partial(store.open, conversation_id)
    yield lambda: {info.id: info.title for info in store.list() if info.id == conversation_id}
    yield lambda: {message.id: message.text for message in fresh().log(last=5).messages}
    yield lambda: {message.id: message.text for message in fresh().messages()}
    yield lambda: {message.id: message.text for message in fresh().log().messages}
    yield lambda: {str(seq): update for seq, update in store.read(ConversationId(conversation_id))}
    yield lambda: {
        found.message: fresh().message(found.message).text
        for found in store.search("about", conversation=conversation_id)
    }
    yield lambda: {"small": store.get_blob(hashlib.sha256(b"small").hexdigest())}


def truth_of(whole: Whole, conversation_id: str) -> dict[str, object]:
    """Return all that reading a conversation may return."""
    logged = {key: row[3] for key, row in whole.rows["updates"].items() if row[1] == conversation_id}
    snapshots = {str(row[1]): zlib.decompress(row[5]) for row in whole.rows["snapshots"].values()}
    others = {conversation_id: whole.titles[conversation_id], "small": b"small"}
    return {**whole.said[conversation_id], **logged, **snapshots, **others}


def test_a_damaged_page_gives_an_error_or_the_truth(whole: Whole, tmp_path: Path) -> None:
    """Whichever page is rubbish, what is read is what was written, and every error is a StoreError."""
    wrong, refused = [], Counter[int]()
    for page, copy in spoiled(whole, tmp_path):
        # From the search alone, which is named by a test of its own, below.
        errors = (StoreError, zlib.error) if whole.tables.get(page) == ("pages", "overflow") else StoreError
        with suppress(StoreError), Store(copy, read_only=True) as store:
            for conversation_id in whole.said:
                truth = truth_of(whole, conversation_id)
                for read in ways_to_read(store, conversation_id):
                    try:
                        wrong += [page] * (not read().items() <= truth.items())
                    except errors:
                        refused[page] += 1
    assert wrong == []
    assert (len(refused) > 20, len(whole.pages) > 40) == (True, True)


def test_a_damaged_page_is_found_by_the_check(whole: Whole, tmp_path: Path) -> None:
    """Whichever page is rubbish, the check says so and names what stood there, or nobody can open it."""
    silent, unnamed = [], []
    for page, copy in spoiled(whole, tmp_path):
        try:
            with Store(copy, read_only=True) as store:
                damages = store.check()
        except StoreError:
            continue
        silent += [page] * (not damages)
        unnamed += sorted(whole.standing.get(page, set()) - named(damages))
    assert (silent, unnamed) == ([], [])
