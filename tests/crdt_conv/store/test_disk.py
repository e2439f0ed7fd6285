"""A disk in the way: full at any moment, rights that are missing, pages of rubbish, a killed writer."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from crdt_conv import Conversation, Store, StoreCorrupt, StoreError, StoreFull
from crdt_conv.engine import Row
from tests.replicas import sqlite_of, texts

# Root may write everywhere, so that the checks run as somebody else. What Python loads late
# is loaded first: that user may have no right to read it.
AS_SOMEBODY = """
import os, sys
from pathlib import Path
from crdt_conv import Store, StoreReadOnly

def refused(act):
    try:
        act()
    except StoreReadOnly:
        return True

def write(path):
    with Store(path) as store:
        conversation = store.create("Trip", conversation_id="c")
        conversation.append("user", "kept")
        return [message.text for message in conversation.log().messages]

folder = Path(sys.argv[1])
path = folder / "chats.db"
write(":memory:")
if os.geteuid() == 0:
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
"""

FOLDER = """
folder.chmod(0o500)
assert refused(lambda: write(path))
assert list(folder.iterdir()) == []
"""

FILE = """
write(path)
path.chmod(0o400)
with Store(path) as store:
    conversation = store.open("c")
    assert refused(lambda: conversation.append("user", "lost"))
    assert [message.text for message in conversation.log().messages] == ["kept"]
"""

SEALED = """
write(path)
path.chmod(0)
assert refused(lambda: Store(path))
assert refused(lambda: Store(path, read_only=True))
"""


@pytest.mark.parametrize("check", [FOLDER, FILE, SEALED], ids=["folder", "file", "sealed file"])
def test_missing_rights_are_named(check: str) -> None:
    """A folder or file that can't be written is an error of one line; what can be read is read."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", AS_SOMEBODY + check, folder], check=False)
        Path(folder).chmod(0o700)
    assert done.returncode == 0


def full_after(store: Store, pages: int) -> None:
    """Let the file grow by some pages and no more."""
    execute = sqlite_of(store).execute
    execute(f"pragma max_page_count = {execute('pragma page_count').fetchone()[0] + pages}")


def stream_for_ever(conversation: Conversation, acknowledged: list[str]) -> None:
    """Write messages until something is in the way, and keep what each was acknowledged to hold."""
    while True:
        writer = conversation.stream()
        acknowledged.append("")
        for _ in range(3):
            writer.write("words " * 100)
            acknowledged[-1] += "words " * 100


@pytest.mark.parametrize("pages", range(1, 8))
def test_a_disk_that_fills_up_at_any_page_loses_nothing_acknowledged(tmp_path: Path, pages: int) -> None:
    """Messages and streamed words that were acknowledged are there, the others are not, and no others."""
    acknowledged: list[str] = []
    with Store(tmp_path / "chats.db") as store:
        conversation = store.create("Trip")
        full_after(store, pages)
        with pytest.raises(StoreFull):
            stream_for_ever(conversation, acknowledged)
        assert texts(conversation.log().messages) == acknowledged
    with Store(tmp_path / "chats.db") as store:
        assert texts(store.open(conversation.id).log().messages) == acknowledged


def test_of_a_group_that_does_not_fit_nothing_is_written(tmp_path: Path) -> None:
    """Updates that are appended together are on disk together, or not at all."""
    with Store(tmp_path / "chats.db") as store:
        conversation = store.create("Trip")
        full_after(store, 3)
        with pytest.raises(StoreFull):
            store.append_many([Row(conversation.id, b"\0\0" * size) for size in (1, 10, 100_000)])
        assert store.last_seq(conversation.id) == 1


def test_a_title_that_does_not_fit_is_not_half_written(tmp_path: Path) -> None:
    """With a full disk the title is the old one, in the conversation and in the list."""
    with Store(tmp_path / "chats.db") as store:
        conversation = store.create("Trip")
        full_after(store, 1)
        with pytest.raises(StoreFull):
            conversation.title = "x" * 50_000
        assert (conversation.title, store.list()[0].title) == ("Trip", "Trip")


def rubbish(path: Path, page: int) -> None:
    """Overwrite one page of a file."""
    with path.open("r+b") as file:
        file.seek(4096 * page)
        file.write(b"\xa5" * 4096)


def test_no_damaged_page_gives_a_wrong_answer(tmp_path: Path) -> None:
    """Whichever page is rubbish: the file is called damaged, or the answer is right; never anything else."""
    whole = tmp_path / "whole.db"
    with Store(whole) as store:
        conversation = store.create("Trip")
        for number in range(20):
            conversation.append("user", f"{number} " + "x" * 1500)
        expected = texts(conversation.log().messages)
    damaged = tmp_path / "damaged.db"
    errors: list[StoreError] = []
    for page in range(whole.stat().st_size // 4096):
        shutil.copy(whole, damaged)
        rubbish(damaged, page)
        try:
            with Store(damaged, read_only=True) as store:
                assert set(texts(store.open(conversation.id).log().messages)) <= set(expected)
        except StoreError as error:
            errors.append(error)
    assert len(errors) > 5
    assert all(isinstance(error, StoreCorrupt) for error in errors)


STREAMER = """
import sys
from crdt_conv import Store
store = Store(sys.argv[1])
conversation = store.join("c")
while True:
    writer = conversation.stream()
    for number in range(5):
        writer.write(f"{number} ")
        print(writer.message_id, number, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 7, 40])
def test_words_that_were_acknowledged_outlive_a_kill(tmp_path: Path, lines: int) -> None:
    """After SIGKILL while streaming, every word that was reported is there, each once and in order."""
    path = tmp_path / "chats.db"
    command = [sys.executable, "-c", STREAMER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        reported = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        reported += [line for line in writer.stdout if line.endswith("\n")]
    with Store(path) as store:
        conversation = store.open("c")
        for message_id, number in (line.split() for line in reported):
            assert f"{number} " in conversation.message(message_id).text
        assert all(m.text == "0 1 2 3 4 "[: len(m.text)] for m in conversation.log().messages)
