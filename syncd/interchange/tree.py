"""
From records with parents to branches.

The way to where the reader last stood is ``main``. Other answers to one question stay beside it
as alternatives; what was written on top of them, and every other fork, is a branch of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import NamedTuple

from crdt_conv import MAIN
from syncd.interchange.records import Findings, Record


class Placed(NamedTuple):
    """A record, and the branch it is on; ``is_chosen`` of an answer that has alternatives."""

    record: Record
    branch: str
    is_chosen: bool = False


def in_order(records: Sequence[Record], findings: Findings) -> list[Record]:
    """Return records with parents first; a parent that is missing, or part of a circle, is let go."""
    by_key = {record.key: record for record in records}
    done: dict[str, Record] = {}
    for record in by_key.values():
        _place(record, by_key, done, findings)
    return list(done.values())


def _place(record: Record, by_key: Mapping[str, Record], done: dict[str, Record], findings: Findings) -> None:
    way: dict[str, Record] = {}
    while record.key not in done:
        parent = record.parent
        if parent is not None and (parent not in by_key or parent in way or parent == record.key):
            findings.note_unknown("a message whose parent is missing or in a circle")
            record = replace(record, parent=None)
            parent = None
        way[record.key] = record
        if parent is None:
            break
        record = by_key[parent]
    done.update(reversed(way.items()))


def on_branches(records: Sequence[Record], current: str | None) -> list[Placed]:
    """Give every record its branch; ``records`` has parents first."""
    children: dict[str | None, list[Record]] = {None: []}
    for record in records:
        children.setdefault(record.key, [])
        children[record.parent].append(record)
    main = _way_to(current, {record.key: record for record in records})
    names = (f"{MAIN}-{number}" for number in count(2))
    placed: dict[str, Placed] = {}
    # Each: the beginnings of what goes on from one place, and the branch of that place.
    waiting: list[tuple[list[Record], str]] = [(children[None], MAIN)] if records else []
    while waiting:
        beginnings, branch = waiting.pop()
        chosen = _chosen(beginnings, main, children)
        for record in beginnings:
            placed_on, goes_on = _branches(record, chosen, branch, names)
            has_others = len([other for other in beginnings if other.role == "assistant"]) > 1
            may_be = record.role == "assistant" and record.status == "complete" and record.parent is not None
            is_chosen = record is chosen and may_be and has_others
            placed[record.key] = Placed(record, placed_on, is_chosen)
            if children[record.key]:
                waiting.append((children[record.key], goes_on or next(names)))
    return [placed[record.key] for record in records]


def _branches(record: Record, chosen: Record, branch: str, names: Iterator[str]) -> tuple[str, str | None]:
    """Return on which branch a record is, and on which what follows; nothing: on a new one."""
    if record is chosen:
        return branch, branch
    # Answers to nothing are no alternatives of each other.
    if record.role == chosen.role == "assistant" and record.parent is not None:
        return branch, None
    name = next(names)
    return name, name


def _chosen(
    beginnings: Sequence[Record], main: set[str], children: Mapping[str | None, Sequence[Record]]
) -> Record:
    """Return what a branch goes on with: where the reader went, else what was continued, else the last."""
    wanted = [record for record in beginnings if record.key in main]
    continued = [record for record in beginnings if children[record.key]]
    return (wanted or continued or beginnings)[-1]


def _way_to(current: str | None, by_key: Mapping[str, Record]) -> set[str]:
    way: set[str] = set()
    while current is not None and current in by_key and current not in way:
        way.add(current)
        current = by_key[current].parent
    return way
