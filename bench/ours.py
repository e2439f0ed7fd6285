"""What has no peer: the graph's own cost, a conversation streamed token by token, one from a stranger."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import conversations, tiny
from bench.clock import took_ms
from bench.peers.port import files_of
from crdt_conv import Conversation, Store
from crdt_conv.store import SqliteEngine

COUNT = 10_000
STREAMED = 1_000


def fsync_ms() -> float:
    """Return the median time of writing 4 KiB and an fsync, in milliseconds."""
    with tempfile.NamedTemporaryFile() as file:

        def write() -> None:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())

        return statistics.median(took_ms(write) for _ in range(200))


def measure() -> Iterator[tuple[str, str]]:
    """Yield each figure and its value."""
    with tempfile.TemporaryDirectory() as folder:
        yield from measure_graph(Path(folder) / "graph.db")
        yield from measure_stream(Path(folder) / "stream.db")
        yield from measure_stranger(Path(folder) / "stranger.db")


def measure_graph(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what opening, `lin` and digests cost in a long conversation."""
    with Store(path) as store:
        conversation = store.create()
        for message in conversations.messages(COUNT):
            conversation.append(message.role, message.text)
        conversation_id = conversation.id
    with Store(path) as store:
        conversation = store.open(conversation_id)
        loaded = took_ms(lambda: len(conversation))
        yield f"graph of {COUNT:,} messages into memory, from the stored index, ms", f"{loaded:.1f}"
        yield (
            f"`lin` and digest of {COUNT:,} messages, cold, ms",
            f"{took_ms(lambda: tail(conversation)):.1f}",
        )
        after = []
        for message in conversations.messages(50):
            conversation.append(message.role, message.text)
            after.append(took_ms(lambda: tail(conversation)))
        yield "the same after one more message, ms", f"{statistics.median(after):.3f}"
        yield "every message with its content, ms", f"{took_ms(conversation.log):.0f}"
    with Store(path) as store:
        assert isinstance(store.engine, SqliteEngine)
        store.engine.index.clear()
        yield (
            "the same from the document, the stored index thrown away, ms",
            f"{took_ms(lambda: store.open(conversation_id).log()):.0f}",
        )
    with Store(path) as store:
        first = took_ms(lambda: store.search("aa"))
        yield (
            f"full-text search among {COUNT:,} messages, first and again, ms",
            f"{first:.1f}, {took_ms(lambda: store.search('aa')):.1f}",
        )


def tail(conversation: Conversation) -> None:
    """Make the graph's log and digest of what the branch says now."""
    heads = [head.id for head in conversation.heads()]
    assert conversation.graph.logs.length(heads[0]) == len(conversation)
    conversation.graph.digest_of(heads)


def measure_stream(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what a conversation takes whose answers came token by token, each token an update on disk."""
    updates, largest = 0, 0.0
    with Store(path) as store:
        conversation = store.create()
        start = time.perf_counter()
        for message in conversations.messages(STREAMED):
            if message.role == "user":
                conversation.append("user", message.text)
            else:
                writer = conversation.stream()
                for token in message.text.split(" "):
                    writer.write(f"{token} ")
                    updates += 1
                writer.finish()
            largest = max(largest, disk(path))
        seconds = time.perf_counter() - start
        encoded = len(conversation.encode())
        yield f"{STREAMED:,} messages token by token: updates", f"{updates:,}"
        yield "updates a second, each with its fsync", f"{updates / seconds:,.0f}"
        yield (
            "largest on disk meanwhile, log included, against the encoded document",
            f"{largest / encoded:.1f}",
        )
        store.compact()
    yield "on disk once compacted, against the encoded document", f"{disk(path) / encoded:.2f}"


def measure_stranger(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what a document of very many tiny messages takes, made by another program."""
    found = tiny.measure(path, tiny.TINY)
    yield (
        f"a stranger's update of {tiny.TINY:,} tiny messages, received and read, ms",
        f"{found['receive_ms'] + found['read_ms']:.0f}",
    )


def disk(path: Path) -> float:
    """Return the bytes of a store's files."""
    return sum(file.stat().st_size for file in files_of(path))
