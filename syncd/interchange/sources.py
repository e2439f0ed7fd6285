"""
Files as programs write them, opened without reading all of them at once.

A file is JSON (one conversation, or a list of them), JSON lines, an SQLite database, a zip with
any of these, or an encoded Yjs document. What it is is told by how it begins, not by its name.
What a file beside it says of pictures and attachments is looked up in the same zip or folder.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import ijson

from syncd.interchange.assets import in_folder, in_zip, with_assets
from syncd.interchange.formats import DOCUMENTS, SESSIONS, llm_logs
from syncd.interchange.opening import Binary, Watch, Watched, opened
from syncd.interchange.records import Findings, Imported, ImportRefused, an_object, parsed
from syncd.interchange.whole import is_whole

FIRST: Final = 25
"""So many records are looked at to tell what a file of JSON lines is."""

_WANTED: Final = (".json", ".jsonl")
_SPACE: Final = b" \t\r\n"
_NOT_CONVERSATIONS: Final = {
    "user.json", "users.json", "projects.json", "memories.json", "message_feedback.json",
    "shared_conversations.json", "model_comparisons.json", "group_chats.json", "export_manifest.json",
    "user_settings.json", "shopping.json", "sora.json", "conversation_asset_file_names.json",
    "library_files.json", "ads.json", "sectioned_conversations.json",
}  # fmt: skip


class Encoded(NamedTuple):
    """An encoded Yjs document; ``key`` is its conversation's id, if the file's name is one."""

    key: str
    update: bytes


Found = Imported | Encoded | dict[str, Any]
"""A conversation of a file; an object is an export of ours."""


def conversations(path: Path, findings: Findings, watch: Watch = lambda _: None) -> Iterator[Found]:
    """
    Yield the conversations of a file, one after another: write one before you take the next.

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
    if not begin:
        raise ImportRefused(f"{path.name} is empty")
    try:
        yield from _told_by(begin, path, findings, watch)
    except (EOFError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError, RuntimeError) as error:
        # An archive that is cut off, damaged, locked with a password or packed in a way of its own.
        raise ImportRefused(f"{path.name} can't be unpacked: {error}") from error


def _told_by(begin: bytes, path: Path, findings: Findings, watch: Watch) -> Iterator[Found]:
    if begin.startswith(b"SQLite format 3\0"):
        yield from llm_logs.read(path, findings)
    elif zipfile.is_zipfile(path):
        try:
            yield from _zipped(path, findings, watch)
        except OSError as error:
            # An offset that leads out of the file, say.
            raise ImportRefused(f"{path.name} can't be unpacked: {error}") from error
    elif path.suffix in {".ydoc", ".bin", ".update"}:
        yield Encoded(path.stem, path.read_bytes())
    else:
        beside = in_folder(path.parent)
        with path.open("rb") as file, opened(file, path.name, watch) as text:
            for found in _text(text, path.name, findings):
                yield with_assets(found, beside, findings) if isinstance(found, Imported) else found


def _zipped(path: Path, findings: Findings, watch: Watch) -> Iterator[Found]:
    count, refusals = 0, Findings()
    with zipfile.ZipFile(path) as archive:
        inside = in_zip(archive)
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        for entry in (entry for entry in entries if _is_wanted(entry.filename)):
            try:
                with archive.open(entry) as file, opened(file, entry.filename, watch) as text:
                    for found in _text(text, PurePosixPath(entry.filename).name, findings):
                        count += 1
                        yield with_assets(found, inside, findings) if isinstance(found, Imported) else found
            except ImportRefused as error:
                refusals.note_damaged(str(error))
        for entry in entries:
            if not _is_wanted(entry.filename) and entry.filename not in inside.used:
                name = PurePosixPath(entry.filename)
                findings.leave_out(f"*{name.suffix or name.name} in the zip")
    if not count:
        reasons = "".join(f"; {reason}" for reason in refusals.damaged)
        raise ImportRefused(f"{path.name} holds no file with conversations{reasons}")
    findings.damaged.update(refusals.damaged)


def _is_wanted(path: str) -> bool:
    name = PurePosixPath(path).name
    return name.endswith(_WANTED) and name not in _NOT_CONVERSATIONS


def _text(file: Watched, name: str, findings: Findings) -> Iterator[Found]:
    with file.peek() as ahead:
        at = ahead.tell()
        begin = ahead.read(4096).lstrip(_SPACE)
        ahead.seek(at)
        # A list may be one line of gigabytes.
        is_lines = begin[:1] != b"[" and _is_lines(ahead)
    if is_lines:
        yield from _lines(file, name, findings)
    elif begin[:1] in {b"{", b"["}:
        yield from _values(file, name, findings, is_list=begin[:1] == b"[")
    else:
        raise ImportRefused(f"{name} is no JSON, no JSON lines, no zip and no database: nothing to import")


def _is_lines(file: Binary) -> bool:
    """
    Whether most of the first lines are whole objects.

    A line alone is JSON lines if it is the line of a session; else it is JSON.
    """
    lines = list(islice((line for line in file if line.strip(_SPACE)), FIRST))
    found = [value for value in map(parsed, lines) if isinstance(value, dict) and value]
    if len(lines) == 1 and found:
        return not any(known.matches(found[0]) for known in DOCUMENTS) and not is_whole(found[0])
    return len(lines) > 1 and 2 * len(found) >= len(lines)


# JSON lines


def _lines(file: Watched, name: str, findings: Findings) -> Iterator[Found]:
    records = _records(file, findings)
    first = list(islice(records, FIRST))
    for session in SESSIONS:
        if session.matches(first):
            yield session.read(chain(first, records), _stem(name), findings)
            return
    if all("role" in record for record in first) and any("content" in record for record in first):
        # A message a line.
        yield from _document({"messages": [*first, *records], "id": _stem(name)}, name, findings)
        return
    yield from _documents(chain(first, records), name, findings)


def _stem(name: str) -> str:
    """Return the name of a file without its suffix, also if it is packed."""
    return Path(name.removesuffix(".gz").removesuffix(".zst")).stem


def _records(lines: Iterable[bytes], findings: Findings) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not line.strip():
            continue
        record = parsed(line)
        if isinstance(record, dict):
            yield record
        else:
            # The last line of a program that was killed, say.
            findings.note_damaged("a line that is no JSON object")


# JSON


def _values(file: Watched, name: str, findings: Findings, *, is_list: bool) -> Iterator[Found]:
    try:
        if is_list:
            yield from _listed(file, name, findings)
        else:
            yield from _document(json.loads(file.read()), name, findings)
    except (ijson.JSONError, ValueError, RecursionError) as error:
        raise ImportRefused(f"{name} is no whole JSON: {error}") from error


def _listed(file: Watched, name: str, findings: Findings) -> Iterator[Found]:
    """Read a list of conversations one by one, or one of messages whole."""
    items = ijson.items(file, "item", use_float=True)
    first = next(items, None)
    if isinstance(first, dict) and "role" in first and first.keys() & {"content", "parts"}:
        yield from _document([first, *items], name, findings)
        return
    yield from _documents(chain([] if first is None else [first], items), name, findings)


def _documents(values: Iterable[Any], name: str, findings: Findings) -> Iterator[Found]:
    """Read values one by one; one that is no conversation keeps no other out."""
    count, refusals = 0, Findings()
    for value in values:
        try:
            yield from _document(value, name, findings)
            count += 1
        except ImportRefused as error:
            refusals.note_damaged(str(error))
    if refusals.damaged and not count:
        raise ImportRefused(next(iter(refusals.damaged)))
    findings.damaged.update(refusals.damaged)


def _document(value: Any, name: str, findings: Findings) -> Iterator[Found]:
    if is_whole(value):
        yield an_object(value)
        return
    try:
        known = next((known for known in DOCUMENTS if known.matches(value)), None)
        if known is not None:
            yield known.read(value, findings)
            return
    except RecursionError as error:
        raise ImportRefused(f"{name} holds something that is nested too deeply") from error
    keys = ", ".join(sorted(map(str, value))[:6]) if isinstance(value, dict) else type(value).__name__
    raise ImportRefused(f"{name} holds something that no known program writes (it begins with: {keys})")
