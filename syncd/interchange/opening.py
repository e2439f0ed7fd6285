"""Text files as UTF-8, whatever they are: packed with gzip or zstd, or UTF-16, as Windows' shells write."""

from __future__ import annotations

import codecs
import gzip
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from typing import IO, Final

from syncd.interchange.records import ImportRefused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Watch = Callable[[int], None]
Binary = IO[bytes] | BufferedIOBase

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_BOMS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PIECE: Final = 1 << 20


class Watched:
    """A file that tells how far it was read."""

    def __init__(self, file: Binary, watch: Watch) -> None:
        self._file = file
        self._watch = watch
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        """Read on."""
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
    def peek(self) -> Iterator[Binary]:
        """Look ahead; afterwards the file stands where it stood."""
        at = self._file.tell()
        yield self._file
        self._file.seek(at)


@contextmanager
def opened(file: Binary, name: str, watch: Watch) -> Iterator[Watched]:
    """
    Open a file as UTF-8 without a byte order mark.

    Raises:
        ImportRefused: It is packed in a way that this program does not know, or no text.
    """
    begin = file.read(4)
    file.seek(0)
    if begin.startswith(_ZSTD):
        try:
            with zstd.open(file) as unpacked, opened(unpacked, name, watch) as inner:
                yield inner
        except zstd.ZstdError as error:
            raise ImportRefused(f"{name} can't be unpacked: {error}") from error
        return
    if begin.startswith(_GZIP):
        with gzip.open(file) as unzipped, opened(unzipped, name, watch) as inner:
            yield inner
        return
    encoding = next((encoding for bom, encoding in _BOMS if begin.startswith(bom)), None)
    if encoding is not None:
        with tempfile.TemporaryFile() as written:
            _recode(file, written, name, encoding)
            yield Watched(written, watch)
        return
    if begin.startswith(codecs.BOM_UTF8):
        file.seek(len(codecs.BOM_UTF8))
    yield Watched(file, watch)


def _recode(file: Binary, written: IO[bytes], name: str, encoding: str) -> None:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    try:
        while piece := file.read(_PIECE):
            written.write(decoder.decode(piece).encode())
        written.write(decoder.decode(b"", final=True).encode())
    except UnicodeError as error:
        raise ImportRefused(f"{name} is no text: {error}") from error
    written.seek(0)
