"""
What documents cost that mean no good: ``python -m bench.hostile [NAME …]``.

Each is made in two sizes by another program, received, read, written to, checked, and read again without its
stored index. CPU, so that other programs matter less; its growth says whether it is linear.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pycrdt import Array, Doc, Map

from crdt_conv import Store
from crdt_conv.store import SqliteEngine

SIZE = 5_000
UPDATES = 200
Roots = Mapping[str, Map[Any]]


def message(*parents: str, role: str = "user", **fields: Any) -> dict[str, Any]:
    """Return a message as another program writes it."""
    return {"role": role, "parents": list(parents), "parts": [], **fields}


def chain(number: int) -> tuple[str, ...]:
    """Return the parents of a message on the one before it."""
    return (f"m{number - 1}",) if number else ()


def very_many_parents(messages: Map[Any], size: int) -> None:
    """One message on top of all others."""
    for n in range(size):
        messages[f"m{n}"] = message()
    messages["top"] = message(*(f"m{n}" for n in range(size)))


def merges_upon_merges(messages: Map[Any], size: int) -> None:
    """Each message on top of the two before it."""
    for n in range(size):
        messages[f"m{n}"] = message(*(f"m{above}" for above in (n - 1, n - 2) if above >= 0))


def heads_along_a_chain(messages: Map[Any], size: int) -> None:
    """Half of all messages are heads, each with a log of its own length."""
    for n in range(size // 2):
        messages[f"m{n}"] = message(*chain(n))
        messages[f"head{n}"] = message(f"m{n}")


def alternatives(messages: Map[Any], size: int) -> None:
    """Replies to one question."""
    messages["q"] = message()
    for n in range(size):
        messages[f"m{n}"] = message("q", role="assistant")


def branches(messages: Map[Any], size: int) -> None:
    """Each message on a branch of its own."""
    messages["q"] = message()
    for n in range(size):
        messages[f"m{n}"] = message("q", branch=f"b{n}")


def a_cycle(messages: Map[Any], size: int) -> None:
    """All messages in one circle."""
    for n in range(size):
        messages[f"m{n}"] = message(f"m{(n + 1) % size}")


def parts_and_hidden_fields(messages: Map[Any], size: int) -> None:
    """One message with all of them."""
    parts = [Map({"id": str(n), "type": "text", "text": "x"}) for n in range(size)]
    hidden = [Map({"provider": "p", "data": "x", "at": str(n)}) for n in range(size)]
    messages["q"] = Map({"role": "user", "parents": [], "parts": Array(parts), "hidden": Array(hidden)})


def unknown_keys(messages: Map[Any], size: int) -> None:
    """One message with very many."""
    messages["q"] = Map({**message(), **{f"key{n}": n for n in range(size)}})


def at_once(fill: Callable[[Map[Any], int], None], size: int) -> list[bytes]:
    """Return one update with all of it."""
    doc: Doc[Any] = Doc()
    messages = doc.get("messages", type=Map)
    with doc.transaction():
        fill(messages, size)
    return [doc.get_update()]


def behind_a_gap(_: Callable[..., None], size: int) -> list[bytes]:
    """Return an update a message, of which the first never comes."""
    updates: list[bytes] = []
    doc: Doc[Any] = Doc()
    messages = doc.get("messages", type=Map)
    doc.observe(lambda event: updates.append(event.update))
    for n in range(size):
        messages[f"m{n}"] = message(*chain(n))
    return updates[1:]


SHAPES = (
    very_many_parents,
    merges_upon_merges,
    heads_along_a_chain,
    alternatives,
    branches,
    a_cycle,
    parts_and_hidden_fields,
    unknown_keys,
)


def cpu_s(updates: list[bytes]) -> float:
    """Return what it takes to do everything with what a stranger sent."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chats.db"
        start = time.process_time()
        with Store(path) as store:
            conversation = store.join("hostile")
            for update in updates:
                conversation.receive(update)
            conversation.log()
            conversation.append("user", "on top of all that")
            conversation.verify()
            for branch in conversation.branches:
                conversation.heads(branch)
            for shown in conversation.messages(["q"] if "q" in conversation else []):
                conversation.hidden(shown.id)
        with Store(path) as store:
            assert isinstance(store.engine, SqliteEngine)
            store.engine.index.clear()
            store.open("hostile").log()
        return time.process_time() - start


def measure(shape: Callable[..., Any]) -> tuple[int, float, float]:
    """Return how many things of a shape there are, and the CPU seconds of so many and of twice as many."""
    is_gap = shape is behind_a_gap
    size, make = (UPDATES, behind_a_gap) if is_gap else (SIZE, at_once)
    # A process each: what one leaves behind is no part of another's figure.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        once, twice = (pool.apply(_made_and_measured, (make, shape, count)) for count in (size, 2 * size))
    return size, once, twice


def _made_and_measured(make: Callable[..., list[bytes]], shape: Callable[..., None], size: int) -> float:
    return cpu_s(make(shape, size))


def main() -> None:
    """Print a row of a table for each."""
    for shape in (*SHAPES, behind_a_gap):
        if sys.argv[1:] and shape.__name__ not in sys.argv[1:]:
            continue
        size, once, twice = measure(shape)
        name = shape.__name__.replace("_", " ")
        print(
            f"| {name} | {size:,}; {2 * size:,} | {once:.2f}; {twice:.2f} | {twice / once:.1f} |", flush=True
        )


if __name__ == "__main__":
    main()
