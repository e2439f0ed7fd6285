"""The store on a real disk: what is written stays, and what is in the way is named."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from crdt_conv import (
    InvalidMessage,
    Store,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreMissing,
    StoreReadOnly,
    StoreTooNew,
    UnknownConversation,
)
from tests.replicas import sqlite_of, texts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the store goes."""
    return tmp_path / "chats.db"


def test_everything_is_there_after_reopening(path: Path) -> None:
    """Title, messages and digest come back from the file."""
    with Store(path, name="ann") as store:
        conversation = store.create(title="Trip")
        conversation.append("user", "Where?")
        digest = conversation.log().digest
    with Store(path) as store:
        again = store.open(conversation.id)
        assert (again.title, texts(again.log().messages), again.log().digest) == ("Trip", ["Where?"], digest)


def test_the_list_shows_what_changed_last_first(path: Path) -> None:
    """Conversations are listed with their titles, also one that came from elsewhere."""
    with Store(path) as store, Store(":memory:") as other:
        first, second = store.create("one"), other.create("two")
        store.join(second.id).receive(second.encode())
        first.title = "changed"
        assert {info.title for info in store.list()} == {"changed", "two"}
        assert {info.id for info in store.list()} == {first.id, second.id}


def test_the_list_says_what_is_archived(path: Path) -> None:
    """Written here or on another device, kept in the file, and taken back; a fork of it is at hand."""
    with Store(path) as store, Store(":memory:") as other:
        here, there, bare = store.create("here"), other.create("there"), store.create("bare")
        here.archive()
        there.archive()
        store.join(there.id).receive(there.encode())
        fork = store.fork(here.id)
        archived = {info.id: info.is_archived for info in store.list()}
        assert archived == {here.id: True, there.id: True, bare.id: False, fork.id: False}
        assert not fork.is_archived
        there.archive(archived=False)
        back = there.encode()
    with Store(path) as store:
        assert {info.id: info.is_archived for info in store.list()} == archived
        assert list(store.check()) == []
        before = store.open(here.id).last_seq
        store.open(here.id).archive()
        assert store.open(here.id).last_seq == before
        store.open(here.id).archive(archived=False)
        store.open(there.id).receive(back)
        assert not any(info.is_archived for info in store.list())


def test_what_a_stranger_calls_archived_is_not(path: Path) -> None:
    """Only the truth counts: a text or a number in its place archives nothing."""
    with Store(path) as store:
        conversation = store.create("Trip")
        for value in ("yes", 1, None):
            with conversation.writing() as document:
                document.put("meta", "archived", value)
            assert not conversation.is_archived
            assert not store.list()[0].is_archived


def test_one_id_is_one_replica() -> None:
    """Everything in a process sees the same live conversation."""
    with Store(":memory:") as store:
        conversation = store.create("Trip")
        assert store.open(conversation.id) is conversation


def test_joining_writes_nothing(path: Path) -> None:
    """A conversation that only exists elsewhere is not made by looking at it."""
    with Store(path) as store:
        store.join("elsewhere")
        assert store.list() == []
        with pytest.raises(UnknownConversation):
            store.open("nowhere")
        with pytest.raises(InvalidMessage):
            store.join("")


def test_the_device_keeps_its_id(path: Path) -> None:
    """A store's device id is made once."""
    with Store(path) as store:
        device = store.device
    with Store(path) as store:
        assert store.device == device != ""


def test_updates_are_durable_by_setting(path: Path) -> None:
    """The file is in write-ahead mode with full synchronisation."""
    with Store(path) as store:
        pragmas = [
            sqlite_of(store).execute(f"pragma {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous")
        ]
        assert pragmas == ["wal", 2]


WRITER = """
import sys
from crdt_conv import Store
store = Store(sys.argv[1], program="the test's writer")
conversation = store.create("Trip")
print(conversation.id, flush=True)
while True:
    print(conversation.append("user", "x" * 100).id, flush=True)
"""


def start_writer(path: Path) -> subprocess.Popen[str]:
    """Start a process that writes for ever, and reports what is durable."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, bufsize=1
    )


def test_a_killed_writer_loses_nothing_it_acknowledged(path: Path) -> None:
    """After SIGKILL in the middle of writing, all that was reported is there, and the lock is free."""
    writer = start_writer(path)
    assert writer.stdout is not None
    reported = [writer.stdout.readline().strip() for _ in range(60)]
    writer.send_signal(signal.SIGKILL)
    reported += [line.strip() for line in writer.stdout if line.endswith("\n")]
    writer.wait()
    writer.stdout.close()
    with Store(path) as store:
        conversation = store.open(reported[0])
        assert set(reported[1:]) <= {message.id for message in conversation.log().messages}
        assert not conversation.problems()


def test_a_second_writer_is_told_who_the_first_is(path: Path) -> None:
    """Another process that writes is named; reading beside it goes on."""
    writer = start_writer(path)
    assert writer.stdout is not None
    conversation_id = writer.stdout.readline().strip()
    writer.stdout.readline()
    with pytest.raises(StoreLocked, match=f"the test's writer \\(process {writer.pid}\\)") as caught:
        Store(path)
    assert caught.value.owner is not None
    with Store(path, read_only=True) as reader:
        assert len(reader.open(conversation_id).log().messages) >= 1
    writer.kill()
    writer.wait()
    writer.stdout.close()


def test_reading_only_writes_nothing(path: Path) -> None:
    """A reader refuses to write, and makes no file."""
    with pytest.raises(StoreMissing, match="conv new"):
        Store(path, read_only=True)
    assert not path.exists()
    with Store(path) as store:
        conversation_id = store.create("Trip").id
    with Store(path, read_only=True) as reader, pytest.raises(StoreReadOnly):
        reader.open(conversation_id).append("user", "no")


def test_a_full_disk_is_named_and_loses_nothing(path: Path) -> None:
    """When the disk is full the write did not happen; with room again everything goes on."""
    with Store(path) as store:
        conversation = store.create("Trip")
        conversation.append("user", "kept")
        limit = sqlite_of(store).execute("pragma page_count").fetchone()[0] + 2
        sqlite_of(store).execute(f"pragma max_page_count = {limit}")
        with pytest.raises(StoreFull, match="make room"):
            conversation.append("user", "x" * 100_000)
        assert texts(conversation.log().messages) == ["kept"]
        sqlite_of(store).execute("pragma max_page_count = 100000")
        conversation.append("user", "after")
    with Store(path) as store:
        assert texts(store.open(conversation.id).log().messages) == ["kept", "after"]


def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    """Some other file is left alone."""
    path.write_bytes(b"not a database at all, but a long enough text to look at" * 40)
    with pytest.raises(StoreCorrupt, match="no SQLite database"):
        Store(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_damaged_page_is_named(path: Path) -> None:
    """Rubbish inside the file is an error, not a wrong answer."""
    with Store(path) as store:
        conversation = store.create("Trip")
        for _ in range(50):
            conversation.append("user", "x" * 2000)
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(path.stat().st_size - 4096 * 4))
    with pytest.raises(StoreError), Store(path) as store:
        store.open(conversation.id).log()


def test_a_later_version_s_store_is_left_alone(path: Path) -> None:
    """A store that a later version has changed asks for that version."""
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(
            "insert into _sqlite_migrations (migration_set, name, applied_at)"
            " values ('crdt_conv', 'm999_later', '')"
        )
        connection.execute("pragma user_version = 999")
    connection.close()
    with pytest.raises(StoreTooNew, match="upgrade"):
        Store(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_t_be_written_is_named(tmp_path: Path) -> None:
    """Rights that are missing are an error of one line."""
    tmp_path.chmod(0o500)
    with pytest.raises(StoreReadOnly):
        Store(tmp_path / "chats.db")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A folder that is not there is an error of one line."""
    with pytest.raises(StoreMissing, match="no folder"):
        Store(tmp_path / "nowhere" / "chats.db")


def test_a_closed_store_says_so(path: Path) -> None:
    """Whoever writes after the end is told."""
    store = Store(path)
    conversation = store.create("Trip")
    store.close()
    with pytest.raises(StoreError, match="closed"):
        conversation.append("user", "late")


def test_the_owner_is_published(path: Path) -> None:
    """Other processes find the daemon's address beside the file, until it closes."""
    with Store(path, program="syncd serve") as store:
        store.publish("http://127.0.0.1:1")
        owner = json.loads(path.with_name("chats.db.owner").read_text())
        assert (owner["pid"], owner["url"]) == (os.getpid(), "http://127.0.0.1:1")
    assert not path.with_name("chats.db.owner").exists()
