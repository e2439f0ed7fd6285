"""
Files as programs write them, opened without reading all of them at once.

A file is JSON (one conversation, or a list of them), JSON lines, an SQLite database, a zip with
any of these, or an encoded Yjs document. What it is is told by how it begins, not by its name.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import ijson

from syncd.interchange.formats import DOCUMENTS, SESSIONS, llm_logs
from syncd.interchange.records import Findings, Imported, ImportRefused, an_object
from syncd.interchange.whole import is_whole

FIRST: Final = 25
"""So many records are looked at to tell what a file of JSON lines is."""

_WANTED: Final = (".json", ".jsonl")
_NOT_CONVERSATIONS: Final = {
    "user.json", "users.json", "projects.json", "memories.json", "message_feedback.json",
    "shared_conversations.json", "model_comparisons.json", "group_chats.json", "export_manifest.json",
    "user_settings.json", "shopping.json", "sora.json",
}  # fmt: skip


class Encoded(NamedTuple):
    """An encoded Yjs document; ``key`` is its conversation's id, if the file's name is one."""

    key: str
    update: bytes


Found = Imported | Encoded | dict[str, Any]
"""A conversation of a file; an object is an export of ours."""

Watch = Callable[[int], None]


def conversations(path: Path, findings: Findings, watch: Watch = lambda _: None) -> Iterator[Found]:
    """
    Yield the conversations of a file, one after another.

    Args:
        path: The file.
        findings: Told what was not understood.
        watch: Called now and then with how many bytes were read so far.

    Raises:
        ImportRefused: It is nothing that can be imported.
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        begin = file.read(16)
    if begin.startswith(b"SQLite format 3\0"):
        yield from llm_logs.read(path, findings)
    elif zipfile.is_zipfile(path):
        yield from _zipped(path, findings, watch)
    elif path.suffix in {".ydoc", ".bin", ".update"}:
        yield Encoded(path.stem, path.read_bytes())
    else:
        with path.open("rb") as file:
            yield from _text(_Watched(file, watch), path.name, findings)


class _Watched:
    """A file that tells how far it was read."""

    def __init__(self, file: IO[bytes], watch: Watch) -> None:
        self._file = file
        self._watch = watch
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._seen(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        for line in self._file:
            self._seen(line)
            yield line

    def _seen(self, data: bytes) -> None:
        self._read += len(data)
        self._watch(self._read)

    @contextmanager
    def peek(self) -> Iterator[IO[bytes]]:
        """Look ahead; afterwards the file stands where it stood."""
        at = self._file.tell()
        yield self._file
        self._file.seek(at)


def _zipped(path: Path, findings: Findings, watch: Watch) -> Iterator[Found]:
    found = False
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = Path(entry.filename).name
            if not name.endswith(_WANTED) or name in _NOT_CONVERSATIONS:
                if not entry.is_dir():
                    findings.leave_out(f"*{Path(name).suffix or name} in the zip")
                continue
            with archive.open(entry) as file:
                for conversation in _text(_Watched(file, watch), name, findings):
                    found = True
                    yield conversation
    if not found:
        raise ImportRefused(f"{path.name} holds no file with conversations")


def _text(file: _Watched, name: str, findings: Findings) -> Iterator[Found]:
    with file.peek() as ahead:
        begin = ahead.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
        ahead.seek(0)
        is_lines = begin[:1] == b"{" and _is_lines(ahead)
    if begin[:1] not in {b"{", b"["}:
        raise ImportRefused(f"{name} is no JSON, no JSON lines, no zip and no database: nothing to import")
    if is_lines:
        yield from _lines(file, name, findings)
    else:
        yield from _values(file, name, findings)


def _is_lines(file: IO[bytes]) -> bool:
    """Whether the first line is a whole object and something follows, or the name of nothing else."""
    first = b""
    for line in file:
        first = line.strip()
        if first:
            break
    try:
        return isinstance(json.loads(first), dict) and _follows(file, json.loads(first))
    except ValueError:
        return False


def _follows(file: IO[bytes], first: dict[str, Any]) -> bool:
    if any(line.strip() for line in file):
        return True
    return not any(known.matches(first) for known in DOCUMENTS) and not is_whole(first)


# JSON lines


def _lines(file: _Watched, name: str, findings: Findings) -> Iterator[Found]:
    records = _records(file, findings)
    first = list(islice(records, FIRST))
    for session in SESSIONS:
        if session.matches(first):
            yield session.read(chain(first, records), Path(name).stem, findings)
            return
    if all("role" in record and "content" in record for record in first):
        # A message a line.
        yield from _document({"messages": [*first, *records], "id": Path(name).stem}, name, findings)
        return
    for record in chain(first, records):
        yield from _document(record, name, findings)


def _records(lines: Iterable[bytes], findings: Findings) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            # The last line of a program that was killed, say.
            findings.note_unknown("a line that is no JSON")
            continue
        if isinstance(record, dict):
            yield record
        else:
            findings.note_unknown("a line that is no object")


# JSON


def _values(file: _Watched, name: str, findings: Findings) -> Iterator[Found]:
    with file.peek() as ahead:
        is_list = ahead.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"["
    try:
        if is_list:
            yield from _listed(file, name, findings)
        else:
            yield from _document(json.loads(file.read()), name, findings)
    except (ijson.JSONError, ValueError, RecursionError) as error:
        raise ImportRefused(f"{name} is no whole JSON: {error}") from error


def _listed(file: _Watched, name: str, findings: Findings) -> Iterator[Found]:
    """Read a list of conversations one by one, or one of messages whole."""
    items = ijson.items(file, "item", use_float=True)
    first = next(items, None)
    if isinstance(first, dict) and "role" in first and "content" in first and "mapping" not in first:
        yield from _document([first, *items], name, findings)
        return
    for value in chain([] if first is None else [first], items):
        yield from _document(value, name, findings)


def _document(value: Any, name: str, findings: Findings) -> Iterator[Found]:
    if is_whole(value):
        yield an_object(value)
        return
    for known in DOCUMENTS:
        if known.matches(value):
            yield known.read(value, findings)
            return
    keys = ", ".join(sorted(map(str, value))[:6]) if isinstance(value, dict) else type(value).__name__
    raise ImportRefused(f"{name} holds something that no known program writes (it begins with: {keys})")
