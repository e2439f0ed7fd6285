"""After a redaction and the next compaction the bytes are in no file of the store."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from crdt_conv import Conversation, ConversationId, HiddenField, Message, Store, StoreError, Target, new_part
from crdt_conv.engine import Row
from crdt_conv.yjs.updates import merge_updates
from tests.crdt_conv import handmade as by_hand
from tests.replicas import copy_of, exchange, replica, restarted, texts

WORD, ACCENTED = "qzxjvwpk", "žluťoučkýkůň"
SEALED = b"\x00\xfe\xffsealed\x80qj"
LARGE = b"sealed at length " * 5000
ATTACHED = b"attached vqxz " * 100

NEEDLES = {
    "the word": WORD.encode(),
    # Full-text search keeps beginnings apart, and folds accents.
    "the word's end": WORD[2:].encode(),
    "the accented word": ACCENTED.encode(),
    "the accented word in JSON": json.dumps(ACCENTED).encode()[1:-1],
    "the folded word": b"zlutouckykun",
    "the folded word's end": b"utouckykun",
    "the sealed bytes": SEALED,
    "the large sealed bytes": LARGE[:40],
    "the attachment": ATTACHED[:40],
    "the attachment's hash": hashlib.sha256(ATTACHED).hexdigest().encode(),
    "the blob's hash": hashlib.sha256(LARGE).hexdigest().encode(),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the store goes, in a folder of its own."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder / "chats.db"


def contents(path: Path) -> Iterator[bytes]:
    """Yield every file in the store's folder, every value in its tables, and what is compressed in them."""
    yield from (file.read_bytes() for file in path.parent.iterdir())
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        database.text_factory = bytes
        tables = database.execute("select name from sqlite_master where type = 'table'").fetchall()
        for (table,) in tables:
            for row in database.execute(f'select * from "{table.decode()}"'):
                for value in row:
                    if isinstance(value, bytes):
                        yield value
                        yield decompressed(value)


def decompressed(value: bytes) -> bytes:
    """Return what was compressed, or nothing."""
    try:
        return zlib.decompress(value)
    except zlib.error:
        return b""


def left(path: Path) -> set[str]:
    """Return what of the secrets is anywhere in the store."""
    everything = list(contents(path))
    return {name for name, needle in NEEDLES.items() if any(needle in value for value in everything)}


def say_secrets(conversation: Conversation) -> Message:
    """Write a message that holds a secret in every place there is."""
    attached = conversation.attach_bytes(ATTACHED, mime="text/plain", name="notes")
    fields = [HiddenField("p", "s", "k", SEALED), HiddenField("p", "s", "k", LARGE)]
    parts = [attached, new_part("tool_result", call_id="1", content=f"{ACCENTED} {WORD}")]
    return conversation.append("assistant", f"Say {WORD} and {ACCENTED}", parts=parts, hidden=fields)


def say_words(conversation: Conversation) -> Message:
    """Write a message that holds secrets, none of them in a blob."""
    fields = [HiddenField("p", "s", "k", SEALED)]
    return conversation.append("assistant", f"Say {WORD} and {ACCENTED}", hidden=fields)


def conversation_in(
    store: Store, say: Callable[[Conversation], Message] = say_secrets
) -> tuple[Conversation, str]:
    """Return a conversation with a secret in its middle, and the secret message's id."""
    conversation = store.create("Trip", conversation_id="c")
    conversation.append("user", "Hello")
    secret = say(conversation).id
    conversation.append("user", "Thanks")
    return conversation, secret


def assert_erased(store: Store, *conversations: Conversation) -> None:
    """Check that the secrets are nowhere: not in files, not in what is found, read or handed over."""
    store.compact()
    assert left(Path(store.path)) == set()
    for word in (WORD, ACCENTED, "zlutouckykun", "sealed", "notes"):
        assert store.search(word) == []
    for conversation in conversations:
        shown = json.dumps([message.as_json() for message in conversation.messages()], ensure_ascii=False)
        for exported in (conversation.encode(), shown.encode()):
            assert not [name for name, needle in NEEDLES.items() if needle in exported]


def log_only(store: Store) -> None:
    """Leave it in the log, with no index, page or snapshot."""


def compacted(store: Store) -> None:
    """Make a snapshot, pages and a search index."""
    assert store.compact()[0].after.rows == 0
    assert store.search(WORD)


def compacted_and_written(store: Store) -> None:
    """Have a snapshot, and updates and pages behind it."""
    store.compact()
    for number in range(200):
        store.open("c").append("user", f"Filler {number}")
    assert store.search("filler")


BEFORE = [log_only, Store.reindex, compacted, compacted_and_written]


@pytest.mark.parametrize("before", BEFORE, ids=lambda before: before.__name__)
def test_everything_is_there_before(path: Path, before: Callable[[Store], None]) -> None:
    """What the other tests look for is what they would find."""
    with Store(path) as store:
        conversation, _ = conversation_in(store)
        before(store)
        if before is not log_only:
            assert left(path) == set(NEEDLES) - {"the accented word in JSON"}
        assert {found.message for found in store.search(WORD)} == {conversation.log().messages[1].id}


@pytest.mark.parametrize("before", BEFORE, ids=lambda before: before.__name__)
def test_what_was_redacted_is_in_no_file(path: Path, before: Callable[[Store], None]) -> None:
    """Whatever the store held of it, compaction leaves nothing, also after closing and opening again."""
    with Store(path) as store:
        conversation, secret = conversation_in(store)
        before(store)
        conversation.redact(secret)
        assert_erased(store, conversation)
    assert left(path) == set()
    with Store(path) as store:
        again = store.open("c")
        assert_erased(store, again)
        assert texts(again.log().messages)[:3] == ["Hello", "", "Thanks"]


@pytest.mark.parametrize("before", BEFORE, ids=lambda before: before.__name__)
def test_what_another_device_redacts_is_in_no_file(path: Path, before: Callable[[Store], None]) -> None:
    """A redaction that arrives erases as one that is made here."""
    with Store(path) as store:
        conversation, secret = conversation_in(store)
        other = copy_of(conversation)
        before(store)
        other.redact(secret)
        conversation.receive(other.encode(conversation.state_vector), "peer")
        assert_erased(store, conversation)
        assert conversation.log().messages[1].status == "redacted"


def test_a_redaction_after_a_restart_erases(path: Path) -> None:
    """With nothing in memory the store knows what its pages, its search index and its blobs hold."""
    with Store(path) as store:
        _, secret = conversation_in(store)
        store.compact()
    with Store(path) as store:
        store.open("c").redact(secret)
        assert_erased(store, store.open("c"))


def test_it_goes_by_itself(path: Path) -> None:
    """A redaction has its conversation compacted, at the latest before the store is closed."""
    with Store(path) as store:
        conversation, secret = conversation_in(store, say_words)
        conversation.redact(secret)
    assert left(path) == set()


def test_a_stream_that_was_redacted_halfway_is_erased(path: Path) -> None:
    """Piece by piece it stood in many updates; whoever goes on is told."""
    with Store(path) as store:
        conversation = store.create("Trip", conversation_id="c")
        writer = conversation.stream()
        for piece in (WORD, " ", ACCENTED) * 20:
            writer.write(piece)
        conversation.redact(writer.message_id)
        assert_erased(store, conversation)


def test_what_a_device_writes_meanwhile_is_erased(path: Path) -> None:
    """Secrets that a peer still writes into a redacted message are gone with the next compaction."""
    with Store(path) as store:
        conversation = store.create("Trip", conversation_id="c")
        writer = conversation.stream()
        other = copy_of(conversation)
        conversation.redact(writer.message_id)
        store.compact()
        other.writer(writer.message_id).write(f"{WORD} {ACCENTED}")
        other.add_hidden(writer.message_id, HiddenField("p", "s", "k", SEALED))
        exchange(conversation, other)
        assert_erased(store, conversation)


def test_what_was_not_emptied_before_a_crash_is_erased(path: Path) -> None:
    """A process that ended between logging a peer's words and emptying them leaves that to the next."""
    with Store(path) as store:
        conversation = store.create("Trip", conversation_id="c")
        writer = conversation.stream()
        other = copy_of(conversation)
        conversation.redact(writer.message_id)
        other.writer(writer.message_id).write(f"{WORD} {ACCENTED}")
        store.append_many([Row(conversation.id, other.encode(conversation.state_vector), "peer")])
    with Store(path) as store:
        assert_erased(store, store.open("c"))


@pytest.mark.parametrize("before", BEFORE, ids=lambda before: before.__name__)
def test_an_open_gap_keeps_nothing_from_being_erased(path: Path, before: Callable[[Store], None]) -> None:
    """What waits for another stays, which is told; what was redacted goes, and again when it closes."""
    with Store(path) as store:
        conversation, secret = conversation_in(store)
        before(store)
        # What it is written into comes later.
        conversation.receive(
            by_hand.update(7, 0, [by_hand.item(by_hand.values(by_hand.string("x")), (9, 0), "mood")])
        )
        conversation.redact(secret)
        assert any("waits for another" in done.reason for done in store.compact())
        assert_erased(store, conversation)
        also = say_secrets(conversation)
        conversation.receive(by_hand.entry(9, "early"))
        conversation.redact(also.id)
        assert_erased(store, conversation)
        assert [done.reason for done in store.compact()] == ["there is nothing behind the snapshot"]


def test_what_waits_in_a_gap_is_erased_when_it_closes(path: Path) -> None:
    """Words that came behind a gap for a redacted message go with the compaction after it has closed."""
    with Store(path) as store:
        conversation = store.create("Trip", conversation_id="c")
        writer = conversation.stream()
        other, updates = copy_of(conversation), list[bytes]()
        other.subscribe(lambda change: updates.append(change.update))
        other.writer(writer.message_id).write("so ")
        other.writer(writer.message_id).write(f"{WORD} {ACCENTED}")
        conversation.redact(writer.message_id)
        conversation.receive(updates[1])
        store.compact()
        assert "the word" in left(path)
        conversation.receive(updates[0])
        assert_erased(store, conversation)


def test_while_somebody_reads_the_file_it_says_so(path: Path) -> None:
    """A reader keeps old pages alive: compaction is an error then, and erases when the reader is gone."""
    with Store(path) as store:
        conversation, secret = conversation_in(store)
        store.compact()
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("begin")
            reader.execute("select count(*) from messages").fetchone()
            conversation.redact(secret)
            with pytest.raises(StoreError, match="another process reads"):
                store.compact()
        assert_erased(store, conversation)


def test_stripped_fields_are_in_no_snapshot(path: Path) -> None:
    """Hidden fields that were stripped for good are gone from the log with the next compaction."""
    with Store(path) as store:
        conversation, _ = conversation_in(store)
        store.compact()
        conversation.strip()
        store.compact()
        assert not any(SEALED in decompressed(value) or SEALED in value for value in contents(path))


# Blobs


def test_a_blob_that_is_used_elsewhere_survives(path: Path) -> None:
    """Another message's attachment, and one of another conversation, are still there."""
    with Store(path) as store:
        conversation, secret = conversation_in(store)
        kept = conversation.attach_bytes(b"kept", mime="text/plain")
        conversation.append("user", parts=[kept])
        elsewhere = store.create("Other")
        also = elsewhere.attach_bytes(b"also", mime="text/plain")
        elsewhere.append("user", parts=[also])
        store.reindex()
        conversation.redact(secret)
        assert_erased(store, conversation)
        assert conversation.blob(kept.content["sha256"]) == b"kept"
        assert elsewhere.blob(also.content["sha256"]) == b"also"


@pytest.mark.parametrize("before", BEFORE, ids=lambda before: before.__name__)
def test_a_blob_of_two_messages_survives_the_redaction_of_one(
    path: Path, before: Callable[[Store], None]
) -> None:
    """It goes with the last message that refers to it."""
    with Store(path) as store:
        conversation, secret = conversation_in(store)
        other = say_secrets(conversation)
        before(store)
        conversation.redact(secret)
        store.compact()
        assert conversation.hidden(other.id)[1].data == LARGE
        assert conversation.blob(other.parts[1].content["sha256"]) == ATTACHED
        conversation.redact(other.id)
        assert_erased(store, conversation)


def test_a_blob_on_its_way_survives(path: Path) -> None:
    """What was attached and not sent yet is no redacted message's."""
    with Store(path) as store:
        conversation, secret = conversation_in(store)
        coming = conversation.attach_bytes(b"coming", mime="text/plain")
        conversation.redact(secret)
        store.compact()
        conversation.append("user", parts=[coming])
        assert conversation.blob(coming.content["sha256"]) == b"coming"


# Forks that are documents of their own


@pytest.mark.parametrize("of_fork", [False, True])
def test_a_fork_is_redacted_with_its_original(path: Path, *, of_fork: bool) -> None:
    """And the original with its fork: the same words stand in both."""
    with Store(path) as store:
        original, secret = conversation_in(store)
        fork = store.fork(original.id, "Aside")
        fork.append("user", "more")
        store.compact()
        (fork if of_fork else original).redact(secret)
        assert original.message(secret).status == fork.message(secret).status == "redacted"
        assert_erased(store, original, fork)


@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_a_family_is_redacted_together_after_a_restart(path: Path, chosen: int) -> None:
    """Fork and fork of a fork are known from the file alone, wherever the redaction is made."""
    with Store(path) as store:
        original, secret = conversation_in(store)
        child = store.fork(original.id)
        ids = [original.id, child.id, store.fork(child.id).id]
    with Store(path) as store:
        store.open(ids[chosen]).redact(secret)
        family = [store.open(conversation_id) for conversation_id in ids]
        assert [member.message(secret).status for member in family] == ["redacted"] * 3
        assert_erased(store, *family)


def test_a_family_that_was_merged_is_still_one(path: Path) -> None:
    """After a grandchild came back into its parent the redactions of the original still reach both."""
    with Store(path) as store:
        original, secret = conversation_in(store)
        child = store.fork(original.id)
        grandchild = store.fork(child.id)
        grandchild.append("user", "more")
        child.merge_document(grandchild)
        ids = [original.id, child.id, grandchild.id]
    with Store(path) as store:
        store.open(ids[0]).redact(secret)
        assert_erased(store, *map(store.open, ids))


def forked_elsewhere(conversation: Conversation) -> list[bytes]:
    """Return the updates of a fork that another device made before it heard of anything."""
    elsewhere = Store(":memory:", name="bob")
    elsewhere.join(conversation.id).receive(conversation.encode())
    updates: list[bytes] = []
    elsewhere.subscribe(lambda change: updates.append(change.update))
    elsewhere.fork(conversation.id)
    return updates


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("is_redacted_first", [True, False])
def test_a_fork_that_is_received_is_redacted(path: Path, *, order: int, is_redacted_first: bool) -> None:
    """A fork made elsewhere holds the words, too; it comes in several updates, in any order."""
    with Store(path) as store:
        original, secret = conversation_in(store, say_words)
        updates = forked_elsewhere(original)
        if is_redacted_first:
            original.redact(secret)
        fork = store.join("fork")
        for update in updates[::order]:
            fork.receive(update, "peer")
        if not is_redacted_first:
            original.redact(secret)
        assert fork.message(secret).status == "redacted"
        assert_erased(store, original, fork)


def test_a_fork_that_is_received_before_its_original_redacts_it(path: Path) -> None:
    """A redaction that was made in a fork reaches an original that comes later."""
    source = replica()
    source.append("user", "Hello")
    secret = say_secrets(source).id
    with Store(path) as store:
        fork = store.join("fork")
        for update in forked_elsewhere(source):
            fork.receive(update, "peer")
        fork.redact(secret)
        original = store.join(source.id)
        original.receive(source.encode(), "peer")
        assert original.message(secret).status == "redacted"
        assert_erased(store, original, fork)


def test_an_unrelated_conversation_with_the_same_id_is_left_alone(path: Path) -> None:
    """Only relatives are redacted along: a message's id alone makes no family."""
    with Store(path) as store:
        original, secret = conversation_in(store)
        stranger = store.join(ConversationId("stranger"))
        stranger.receive(original.encode())
        original.redact(secret)
        assert WORD in stranger.message(secret).text


def test_a_fork_is_told_after_a_crash_before_anything_is_called_erased(path: Path) -> None:
    """A compaction that goes by itself forgets nothing that a fork has not heard of."""
    with Store(path) as store:
        original, secret = conversation_in(store)
        fork_id = store.fork(original.id).id
        other = copy_of(original)
        other.redact(secret)
        store.append_many([Row(original.id, other.encode(original.state_vector), "peer")])
    with Store(path) as store:
        assert store.open("c").message(secret).status == "redacted"
        store._compactor.add(ConversationId("c"))
        store._compactor.wait()
        store.flush()
        store._compactor.add(ConversationId("c"))
        store._compactor.wait()
    with Store(path) as store:
        assert_erased(store, store.open("c"), store.open(fork_id))


# Copies


@pytest.mark.parametrize("before", BEFORE, ids=lambda before: before.__name__)
def test_copies_are_erased_with_it(path: Path, before: Callable[[Store], None]) -> None:
    """Squashed or picked, also in a fork that is a document of its own, or quoted by an error: it is gone."""
    with Store(path) as store:
        original, secret = conversation_in(store)
        original.fork("side", original.messages()[0].id)
        original.cherry_pick([secret], "side")
        run = original.runs.request(Target("openai"))
        original.runs.update(run.id, state="failed", error={"type": "x", "message": WORD})
        aside = store.fork(original.id, "Aside")
        aside.squash("main", "side")
        aside.cherry_pick([secret], "side")
        before(store)
        original.redact(secret)
        assert_erased(store, original, aside)
        assert {copy.status for copy in aside.copies(secret)} == {"redacted"}
    assert left(path) == set()


def test_what_came_in_one_update_with_a_gap_is_erased(path: Path) -> None:
    """While the gap is open only what waits is kept of the update; sent again, it is no news."""
    stranger, updates = replica("c", "eve"), list[bytes]()
    stranger.subscribe(lambda change: updates.append(change.update))
    for title in ("comes too late", "waits"):
        stranger.title = title
    source = replica()
    secret = source.append("user", f"{WORD} {ACCENTED}")
    both = merge_updates([source.encode(), updates[1]])
    with Store(path) as store:
        conversation = store.join("c")
        conversation.receive(both, "peer")
        conversation.redact(secret.id)
        assert "waits" in store.compact()[0].reason
        assert_erased(store, conversation)
        assert not restarted(conversation).receive(both, "peer")
        conversation.receive(updates[0])
        assert (conversation.title, store.compact()[0].reason) == ("waits", "")
        assert_erased(store, conversation)
