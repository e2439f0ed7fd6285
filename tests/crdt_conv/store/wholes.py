"""
A store that nothing is wrong with, what stands where in it, and copies of it with rubbish on a page.

What stands on which page is asked of SQLite itself (``dbstat``) in the whole file, never
of the code under test.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crdt_conv import Damage, Store

PAGE = 4096
BLOB = random.Random(1).randbytes(9000)


def said(number: int, length: int) -> str:
    """Return a text that no other has a piece of."""
    return f"about {number}: " + random.Random(number).randbytes(length // 2).hex()


def fill(path: Path) -> None:
    """Write a store of about 40 pages: a snapshot, logs, a long message, blobs, leases, peers."""
    with Store(path, name="Ann") as store:
        short = store.create("Compacted")
        for number in range(6):
            short.append("user" if number % 2 else "assistant", said(number, 300))
        short.append(
            "user",
            "look",
            parts=[short.attach_bytes(BLOB, mime="x/y"), short.attach_bytes(b"small", mime="x/y")],
        )
        store.compact(short.id)
        short.append("user", "behind the snapshot")
        log = store.create("Log")
        for number in range(10, 24):
            log.append("user", said(number, 700))
        fork = store.fork(log.id, "Fork")
        fork.append("user", "on the fork")
        store.create("Long").append("user", said(99, 12_000))
        store.engine.acquire_lease("run", "executor", at_ms=10**12, until_ms=10**12 + 5)
        store.acknowledge("peer", short.id, 3)
        store.acknowledge("peer", log.id, 12)
        store.delete(store.create("Deleted").id)


@dataclass(frozen=True)
class Whole:
    """A store that nothing is wrong with, and what it says."""

    path: Path
    said: dict[str, dict[str, str]]
    digests: dict[str, str]
    titles: dict[str, str]
    rows: dict[str, dict[str, list[Any]]]
    """By table, by what ``Damage`` calls it."""
    standing: dict[int, set[tuple[str, str]]]
    """By page, the rows of the three tables with checksums that have a part of theirs there."""
    tables: dict[int, tuple[str, str]]
    """By page, its table or index, and whether it is a leaf, internal or overflow."""

    @property
    def pages(self) -> range:
        return range(1, self.path.stat().st_size // PAGE + 1)


KEYED = {"updates": "seq", "snapshots": "conversation", "blobs": "sha256"}
OTHERS = ("conversations", "leases", "outbox", "settings", "deleted")


def rows_of(path: Path) -> dict[str, dict[str, list[Any]]]:
    """Return all canonical rows of a store, by what names them."""
    with closing(sqlite3.connect(path)) as connection:
        keyed = {
            table: {str(row[0]): row[1:] for row in connection.execute(f"select {key}, * from {table}")}
            for table, key in KEYED.items()
        }
        others = {
            table: {"all": connection.execute(f"select * from {table} order by 1, 2").fetchall()}
            for table in OTHERS
        }
    return keyed | others


def standing_of(path: Path) -> tuple[dict[int, set[tuple[str, str]]], dict[int, tuple[str, str]]]:
    """Return what stands on each page, told by SQLite: rows leaf by leaf, and where they go on."""
    standing: dict[int, set[tuple[str, str]]] = {}
    with closing(sqlite3.connect(path)) as connection:
        pages = connection.execute("select pageno, name, pagetype from dbstat")
        tables = {page: (name, kind) for page, name, kind in pages}
        for table, key in KEYED.items():
            keys = [str(row[0]) for row in connection.execute(f"select {key} from {table} order by rowid")]
            places = connection.execute(
                "select path, pageno, pagetype, ncell from dbstat where name = ? order by path", (table,)
            ).fetchall()
            cells: dict[tuple[str, int], str] = {}
            for leaf, page, kind, count in places:
                if kind == "leaf":
                    own = {(leaf, cell): keys.pop(0) for cell in range(count)}
                    standing[page] = {(table, name) for name in own.values()}
                    cells |= own
            for overflow, page, kind, _ in places:
                if kind == "overflow":
                    leaf, _, cell = overflow.partition("+")[0].rpartition("/")
                    standing[page] = {(table, cells[f"{leaf}/", int(cell, 16)])}
    return standing, tables


def make_whole(path: Path) -> Whole:
    """Make a store that nothing is wrong with."""
    fill(path)
    with Store(path) as store:
        live = [store.open(info.id) for info in store.list()]
        said = {str(one.id): {str(m.id): m.text for m in one.messages()} for one in live}
        digests = {str(one.id): one.log().digest.hex() for one in live}
        titles = {str(one.id): one.title for one in live}
    return Whole(path, said, digests, titles, rows_of(path), *standing_of(path))


def spoil(path: Path, page: int) -> None:
    """Write a page of rubbish, another for each page."""
    with path.open("r+b") as file:
        file.seek(PAGE * (page - 1))
        file.write(random.Random(page).randbytes(PAGE))


def spoiled(whole: Whole, folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield a page and a copy of the store in which it is rubbish, for every page."""
    for page in whole.pages:
        copy = Path(shutil.copy(whole.path, folder / f"{page}.db"))
        spoil(copy, page)
        yield page, copy


def files(folder: Path) -> list[str]:
    """Return what is in a folder, less the locks that stay."""
    return sorted(file.name for file in folder.iterdir() if file.suffix != ".lock")


def named(damages: Iterable[Damage]) -> set[tuple[str, str]]:
    """Return the rows that are named, as ``Whole`` names them."""
    return {
        (f"{damage.what}s", str(damage.conversation) if damage.what == "snapshot" else damage.key)
        for damage in damages
        if damage.what in {"update", "snapshot", "blob"}
    }
