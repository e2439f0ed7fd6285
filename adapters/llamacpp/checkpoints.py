"""
What a model has computed for a conversation, on disk: found again by its longest common beginning.

llama-server writes a slot's state into a folder and reads it back, and checks nothing:
flipped bits, another model's file of the same shape, all are restored with 200. So every
file ``ID.bin`` has a manifest ``ID.json`` of ours, which says for what model, build and
context it is, of which tokens (as digests), and what its bytes hash to.

Rules: a file is written first and its manifest last, by a rename, so a crash in between
leaves a file without a manifest, which is never read and swept away later. Names are
never used again, so several processes share a folder without a lock: whoever finds a
file gone computes instead. Nothing here is needed: the folder may be deleted at any time.
The least recently used go first when the folder is over its budget.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import platformdirs

from adapters.llamacpp.tokens import as_bytes

VARIABLE: Final = "CONV_CHECKPOINTS"
VERSION: Final = 2
BLOCK: Final = 32
"""Tokens between two digests of a manifest: how exactly a common beginning is known."""
DEFAULT_BUDGET: Final = 4 * 2**30
"""Bytes."""
SWEEP_AFTER_S: Final = 600.0
"""How old a file without a manifest is before nobody can be writing it any more."""

_WIDTH = 16


def default_folder() -> Path:
    """Return ``CONV_CHECKPOINTS``, or a folder in this user's cache."""
    given = os.environ.get(VARIABLE)
    return Path(given) if given else platformdirs.user_cache_path("crdt-conv") / "llamacpp"


@dataclass(frozen=True, slots=True)
class Identity:
    """
    What a state can be read by.

    ``model`` is the SHA-256 of the GGUF file, ``build`` llama.cpp's, ``cache_k`` and ``cache_v``
    the types of the cache's values, ``context_tokens`` of one slot.
    """

    model: str
    build: str
    context_tokens: int
    cache_k: str = "f16"
    cache_v: str = "f16"
    flash_attention: str = "auto"


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    What a file holds.

    ``digest`` is of all ``tokens``, ``blocks`` of their first 32, 64, … (SHA-256, cut short);
    ``bytes`` and ``sha256`` are the file's; ``about`` are ids of the messages it was computed from.
    """

    identity: Identity
    tokens: int
    digest: str
    blocks: tuple[str, ...]
    bytes: int
    sha256: str
    about: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint, and how many tokens it has in common with a prompt."""

    id: str
    manifest: Manifest
    common: int

    @property
    def filename(self) -> str:
        """The file's name, as the server wants it."""
        return f"{self.id}.bin"


class Checkpoints:
    """The checkpoints of a folder. Calls do file I/O: none belongs into an event loop but ``find``."""

    def __init__(self, folder: Path, *, budget: int = DEFAULT_BUDGET) -> None:
        """
        Use a folder, which is made when it is missing, readable for its owner alone.

        Args:
            folder: Where the server saves slots.
            budget: What the files may take together, in bytes.
        """
        self.folder = folder
        self._budget = budget
        self._known: dict[str, Manifest] = {}
        self._bytes_per_token = 0.0

    def prepare(self) -> None:
        """
        Make the folder, and sweep it.

        Raises:
            OSError: It can't be made.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.trim()

    # Finding

    def find(self, identity: Identity, tokens: Sequence[int], *, is_whole: bool = False) -> Found | None:
        """
        Return the checkpoint with the longest beginning in common with a prompt.

        Args:
            identity: By what it is to be read.
            tokens: The prompt.
            is_whole: Take only what the prompt goes on from: for models that can't go back within a state.
        """
        best: Found | None = None
        digests = _Digests(tokens)
        for checkpoint_id, manifest in self._manifests():
            if manifest.identity != identity:
                continue
            common = digests.common(manifest)
            if is_whole and common < manifest.tokens:
                continue
            if common > (best.common if best is not None else 0):
                best = Found(checkpoint_id, manifest, common)
        return best

    def is_intact(self, found: Found) -> bool:
        """Whether a checkpoint's file is what its manifest says; one that is not is deleted."""
        path = self._file(found.id)
        try:
            size = path.stat().st_size
            is_intact = size == found.manifest.bytes and _hash_file(path) == found.manifest.sha256
        except OSError:
            is_intact = False
        if not is_intact:
            self.delete(found.id)
        return is_intact

    def touch(self, found: Found) -> None:
        """Write down that a checkpoint was of use just now."""
        with suppress(OSError):
            os.utime(self._manifest(found.id))

    # Writing

    def new_id(self) -> str:
        """Return a name that nobody has."""
        return f"{int(time.time()):x}-{secrets.token_hex(8)}"

    def has_room_for(self, tokens: int) -> bool:
        """Whether a checkpoint of so many tokens fits the budget and the disk, as far as others tell."""
        size = int(tokens * self._bytes_per_token)
        if size > self._budget:
            return False
        try:
            return shutil.disk_usage(self.folder).free > 2 * size
        except OSError:
            return False

    def add(
        self,
        checkpoint_id: str,
        identity: Identity,
        tokens: Sequence[int],
        *,
        about: Iterable[str] = (),
        keeps_shorter: bool = False,
    ) -> Manifest | None:
        """
        Make a file that the server has written a checkpoint.

        Args:
            checkpoint_id: Its name.
            identity: By what it can be read.
            tokens: What it holds the state of.
            about: The messages that those were made of.
            keeps_shorter: Keep checkpoints of the beginnings of these tokens, too.

        Returns:
            The manifest, or nothing if the file can't be read, or is larger than the budget.
        """
        path = self._file(checkpoint_id)
        digests = _Digests(tokens)
        try:
            manifest = Manifest(
                identity,
                len(tokens),
                digests.of_all,
                digests.blocks,
                path.stat().st_size,
                _hash_file(path),
                tuple(sorted(about)),
            )
            self._bytes_per_token = manifest.bytes / max(1, manifest.tokens)
            path.chmod(0o600)
            if manifest.bytes > self._budget:
                # It would push out all others, and itself.
                self.delete(checkpoint_id)
                return None
            self._write_manifest(checkpoint_id, manifest)
        except OSError:
            self.delete(checkpoint_id)
            return None
        if not keeps_shorter:
            self._delete_shorter(checkpoint_id, manifest, digests)
        self.trim()
        return manifest if self._manifest(checkpoint_id).exists() else None

    def delete(self, checkpoint_id: str) -> None:
        """Remove a checkpoint, or what there is of it."""
        self._known.pop(checkpoint_id, None)
        # The manifest first: a file alone is nothing.
        for path in (self._manifest(checkpoint_id), self._file(checkpoint_id)):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def forget(self, messages: Collection[str]) -> None:
        """Remove every checkpoint that was computed from any of these messages."""
        gone = set(messages)
        for checkpoint_id, manifest in list(self._manifests()):
            if not gone.isdisjoint(manifest.about):
                self.delete(checkpoint_id)

    def trim(self) -> None:
        """Keep the budget: the least recently used go, and what a crash has left."""
        ages: list[tuple[float, int, str]] = []
        for path in self._files("*.bin"):
            with suppress(OSError):
                age = path.stat().st_mtime
                manifest = self._manifest(path.stem)
                if manifest.exists():
                    ages.append((manifest.stat().st_mtime, path.stat().st_size, path.stem))
                elif time.time() - age > SWEEP_AFTER_S:
                    path.unlink(missing_ok=True)
        self._sweep_manifests()
        total = sum(size for _, size, _ in ages)
        for _, size, checkpoint_id in sorted(ages):
            if total <= self._budget:
                break
            self.delete(checkpoint_id)
            total -= size

    def _sweep_manifests(self) -> None:
        for path in (*self._files("*.json"), *self._files("*.json.tmp")):
            with suppress(OSError):
                is_alone = not self._file(path.name.partition(".")[0]).exists()
                if is_alone and time.time() - path.stat().st_mtime > SWEEP_AFTER_S:
                    path.unlink(missing_ok=True)

    def _delete_shorter(self, checkpoint_id: str, manifest: Manifest, digests: _Digests) -> None:
        """Remove what a longer checkpoint of the same tokens can do as well."""
        for other_id, other in list(self._manifests()):
            if other_id == checkpoint_id or other.identity != manifest.identity:
                continue
            if other.tokens <= manifest.tokens and digests.common(other) == other.tokens:
                self.delete(other_id)

    # Files

    def _manifests(self) -> Iterator[tuple[str, Manifest]]:
        names = {path.stem for path in self._files("*.json")}
        for gone in self._known.keys() - names:
            del self._known[gone]
        for name in sorted(names):
            if name not in self._known:
                manifest = _read_manifest(self._manifest(name))
                if manifest is None:
                    continue
                self._known[name] = manifest
            yield name, self._known[name]

    def _files(self, pattern: str) -> list[Path]:
        with suppress(OSError):
            return list(self.folder.glob(pattern))
        return []

    def _write_manifest(self, checkpoint_id: str, manifest: Manifest) -> None:
        path = self._manifest(checkpoint_id)
        temporary = path.with_suffix(".json.tmp")
        temporary.write_text(json.dumps({"version": VERSION, **asdict(manifest)}))
        temporary.chmod(0o600)
        temporary.replace(path)

    def _file(self, checkpoint_id: str) -> Path:
        return self.folder / f"{checkpoint_id}.bin"

    def _manifest(self, checkpoint_id: str) -> Path:
        return self.folder / f"{checkpoint_id}.json"


class _Digests:
    """Digests of the beginnings of tokens."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens
        running = hashlib.sha256()
        self._running: list[Any] = [running.copy()]
        blocks: list[str] = []
        for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
            running.update(as_bytes(tokens[start : start + BLOCK]))
            self._running.append(running.copy())
            blocks.append(running.hexdigest()[:_WIDTH])
        self.blocks = tuple(blocks)
        self.of_all = self.of(len(tokens))

    def of(self, count: int) -> str:
        """Return the digest of the first so many."""
        running = self._running[count // BLOCK].copy()
        running.update(as_bytes(self._tokens[count // BLOCK * BLOCK : count]))
        return str(running.hexdigest())

    def common(self, manifest: Manifest) -> int:
        """Return how many tokens a manifest has in common, as far as its digests tell."""
        if manifest.tokens <= len(self._tokens) and self.of(manifest.tokens) == manifest.digest:
            return manifest.tokens
        same = 0
        for mine, theirs in zip(self.blocks, manifest.blocks, strict=False):
            if mine != theirs:
                break
            same += 1
        return same * BLOCK


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> Manifest | None:
    """Return a manifest, or nothing where the file is none of this version."""
    try:
        raw = json.loads(path.read_bytes())
        if raw.pop("version") != VERSION:
            return None
        return _manifest_of(raw)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _manifest_of(raw: Mapping[str, Any]) -> Manifest:
    manifest = Manifest(**{**raw, "identity": Identity(**raw["identity"])})
    manifest = replace(manifest, blocks=tuple(manifest.blocks), about=tuple(manifest.about))
    numbers = (manifest.tokens, manifest.bytes, manifest.identity.context_tokens)
    texts = (manifest.digest, manifest.sha256, *manifest.blocks, *manifest.about)
    if not all(isinstance(number, int) for number in numbers) or not all(isinstance(t, str) for t in texts):
        raise TypeError("a manifest's values have other types")
    return manifest


def hash_model(path: Path, folder: Path) -> str:
    """
    Return a model file's SHA-256, remembered in a folder while the file has its size and time.

    Raises:
        OSError: The file can't be read.
    """
    known = known_hash(path, folder)
    if known is not None:
        return known
    digest, memory = _hash_file(path), _memory_of(path, folder)
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = memory.with_suffix(f".{secrets.token_hex(4)}")
        temporary.write_text(digest)
        temporary.replace(memory)
    return digest


def known_hash(path: Path, folder: Path) -> str | None:
    """Return a model file's SHA-256, if it is remembered."""
    with suppress(OSError, ValueError):
        known = _memory_of(path, folder).read_text()
        if len(known) == 64 and int(known, 16) >= 0:
            return known
    return None


def _memory_of(path: Path, folder: Path) -> Path:
    status = path.stat()
    key = [str(path.resolve()), status.st_size, status.st_mtime_ns]
    return folder / "models" / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.txt"
