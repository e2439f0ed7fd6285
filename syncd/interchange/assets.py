"""
The files that stand beside a conversation, in the same zip or folder: pictures, recordings, attachments.

A program names them by an id of its own or by a path. Only what lies in the zip or folder is ever
opened: a path in a file that a stranger wrote leads nowhere else.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from crdt_conv import Part
from syncd.interchange.records import Blob, Findings, Imported, Record, an_object, parsed, words

NAMES: Final = "conversation_asset_file_names.json"
"""Where ChatGPT says since 2026 what a file was called: in the export all are ``.dat``."""

DEEPEST: Final = 3
"""So many folders below that of the conversation are looked into."""

# OpenAI's ids, also at the front of the name that the file has in an export.
_FILE_ID: Final = re.compile(r"file[-_][0-9A-Za-z]+")
_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"), (b"ID3", "audio/mpeg"), (b"OggS", "audio/ogg"),
)  # fmt: skip
_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, by its path from where the conversation stands."""

    path: str
    open: Callable[[], IO[bytes]]

    def read(self) -> bytes:
        """Return its bytes."""
        with closing(self.open()) as file:
            return file.read()


class Assets:
    """The files of one zip or folder; they are listed when the first is asked for."""

    def __init__(self, listed: Callable[[], Iterable[Asset]]) -> None:
        self._listed = listed
        self._by_name: dict[str, Asset] | None = None
        self._names: dict[str, str] = {}
        self._told: dict[str, tuple[str, int, str]] = {}
        self.used: set[str] = set()

    def find(self, reference: str) -> Asset | None:
        """Return the file that a program calls so."""
        if self._by_name is None:
            self._by_name = {}
            for asset in self._listed():
                found = _FILE_ID.match(PurePosixPath(asset.path).name)
                for name in (asset.path, found[0] if found else ""):
                    self._by_name.setdefault(name, asset)
            self._names = _names(self._by_name.get(NAMES))
        name = reference.rpartition("://")[2].lstrip("/")
        file_id = _FILE_ID.fullmatch(name.partition("?")[0])
        return self._by_name.get(file_id[0] if file_id else name) if name else None

    def name(self, asset: Asset) -> str:
        """Return what a file was called by those who made it."""
        return self._names.get(asset.path) or PurePosixPath(asset.path).name

    def tell(self, asset: Asset) -> tuple[str, int, str]:
        """Return SHA-256, size and MIME type of a file, which is read once for it."""
        if asset.path not in self._told:
            digest, size, begin = hashlib.sha256(), 0, b""
            with closing(asset.open()) as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
                    size += len(piece)
                    begin = begin or piece[:16]
            self._told[asset.path] = digest.hexdigest(), size, _mime(begin, self.name(asset))
        self.used.add(asset.path)
        return self._told[asset.path]


def _names(asset: Asset | None) -> dict[str, str]:
    names = an_object(parsed(asset.read())) if asset is not None else {}
    return {path: words(name) for path, name in names.items()}


def in_folder(folder: Path) -> Assets:
    """Return the files in a folder and those below it; links are not followed."""
    return Assets(partial(_walk, folder))


def _walk(folder: Path) -> Iterator[Asset]:
    for root, folders, names in os.walk(folder):
        below = Path(root).relative_to(folder)
        if len(below.parts) >= DEEPEST:
            folders.clear()
        for name in sorted(names):
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield Asset((below / name).as_posix(), partial(_opened, path))


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def in_zip(archive: zipfile.ZipFile) -> Assets:
    """Return the files in a zip."""
    return Assets(partial(_entries, archive))


def _entries(archive: zipfile.ZipFile) -> Iterator[Asset]:
    for entry in archive.infolist():
        if not entry.is_dir():
            yield Asset(entry.filename, partial(archive.open, entry))


def with_assets(imported: Imported, assets: Assets, findings: Findings) -> Imported:
    """Give media of which there is only a name the bytes that lie beside the conversation."""
    imported.records = [_with_assets(record, assets, findings) for record in imported.records]
    return imported


def _with_assets(record: Record, assets: Assets, findings: Findings) -> Record:
    parts: list[Part] = []
    blobs: list[Blob] = []
    for part in record.parts:
        source = part.content.get("source") if part.type == "media" else None
        asset = assets.find(source) if isinstance(source, str) else None
        parts.append(part if asset is None else _found(part, asset, assets))
        if asset is not None:
            blobs.append(asset.read)
        elif isinstance(source, str) and not source.startswith(("http://", "https://")):
            findings.note_damaged("a file that is named and not there")
    return replace(record, parts=tuple(parts), blobs=(*record.blobs, *blobs)) if blobs else record


def _found(part: Part, asset: Asset, assets: Assets) -> Part:
    sha256, size, mime = assets.tell(asset)
    told = str(part.content.get("mime") or "")
    if told and not told.endswith("/*") and told != "application/octet-stream":
        mime = told
    name = part.content.get("name") or assets.name(asset)
    content: dict[str, Any] = {"mime": mime, "sha256": sha256, "size": size, "name": name}
    return replace(part, content=content)


def _mime(begin: bytes, path: str) -> str:
    known = next((mime for magic, mime in _MAGIC if begin.startswith(magic)), None)
    if known is None and begin[:4] == b"RIFF":
        known = _RIFF.get(begin[8:12])
    return known or mimetypes.guess_type(path)[0] or "application/octet-stream"
