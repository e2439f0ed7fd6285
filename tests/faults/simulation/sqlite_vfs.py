"""SQLite's own VFS with a door in it: what is written, cut off and synced is told, and may be refused."""

from __future__ import annotations

import _sqlite3
import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_longlong, c_void_p
from typing import Any, Protocol


class NotSupportedError(Exception):
    """This machine's SQLite can't be reached."""


class Watcher(Protocol):
    """Who is told of the files of a folder; result codes are SQLite's."""

    def opened(self, name: str) -> None:
        """A file is opened, or made."""

    def deleted(self, name: str) -> None:
        """A file is gone."""

    def write(self, name: str, offset: int, data: bytes) -> tuple[int, bytes]:
        """Something is about to be written."""

    def truncate(self, name: str, size: int) -> int:
        """A file is about to be cut off."""

    def sync(self, name: str) -> int:
        """A file is synced: by this, and by nothing else."""


Find = Callable[[str], "tuple[Watcher, str] | None"]

# A name as an address: SQLite reads on behind its end, where a URI's parameters stand.
_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_Delete = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_longlong)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_longlong)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)
_Close = CFUNCTYPE(c_int, c_void_p)


class _VfsStruct(Structure):
    # sqlite3.h, struct sqlite3_vfs; what stands behind xDelete is passed on as it is.
    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("longest_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        ("others", c_void_p * 14),
    )


class _Methods(Structure):
    # sqlite3.h, struct sqlite3_io_methods.
    _fields_ = (
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", c_void_p),
        ("others", c_void_p * 13),
    )


class _FileStruct(Structure):
    _fields_ = (("methods", POINTER(_Methods)),)


_kept: list[object] = []
"""SQLite may hold on to a VFS for as long as a file is open."""


class Vfs:
    """SQLite's own VFS, watched."""

    def __init__(self, find: Find) -> None:
        """
        Make it.

        Args:
            find: Returns who watches the file of a path, and its name there.

        Raises:
            NotSupportedError: The SQLite of this Python can't be reached.
        """
        self._library = _library()
        self._find = find
        self._own = self._library.sqlite3_vfs_find(None)
        self._struct = _VfsStruct.from_buffer_copy(self._own.contents)
        self._struct.name = b"watched"
        self._files: dict[int, tuple[Watcher, str, _Methods]] = {}
        self._tables: dict[int, _Methods] = {}
        self._callbacks: list[Any] = []
        self._struct.open = self._pointer(_Open, self._open)
        self._struct.delete = self._pointer(_Delete, self._delete)
        self._write_pointer = self._pointer(_Write, self._write)
        self._truncate_pointer = self._pointer(_Truncate, self._truncate)
        self._sync_pointer = self._pointer(_Sync, self._sync)
        self._close_pointer = self._pointer(_Close, self._close)
        _kept.append(self)

    def _pointer(self, kind: Any, function: Callable[..., int]) -> int | None:
        callback = kind(function)
        self._callbacks.append(callback)
        return ctypes.cast(callback, c_void_p).value

    @contextmanager
    def registered(self) -> Iterator[None]:
        """Have every connection that is opened meanwhile use it."""
        self._library.sqlite3_vfs_register(ctypes.byref(self._struct), 1)
        try:
            yield
        finally:
            self._library.sqlite3_vfs_unregister(ctypes.byref(self._struct))
            self._library.sqlite3_vfs_register(self._own, 1)

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out: int) -> int:
        code = int(_Open(self._own.contents.open)(vfs, name, file, flags, out))
        found = self._find(ctypes.string_at(name).decode()) if name and code == 0 else None
        if found is not None:
            head = _FileStruct.from_address(file)
            own = head.methods.contents
            self._files[file] = (*found, own)
            head.methods = ctypes.pointer(self._table(own))
            found[0].opened(found[1])
        return code

    def _table(self, own: _Methods) -> _Methods:
        address = ctypes.addressof(own)
        if address not in self._tables:
            table = self._tables[address] = _Methods.from_buffer_copy(own)
            table.write, table.truncate = self._write_pointer, self._truncate_pointer
            table.sync, table.close = self._sync_pointer, self._close_pointer
        return self._tables[address]

    def _delete(self, vfs: int, name: int, is_durable: int) -> int:
        code = int(_Delete(self._own.contents.delete)(vfs, name, is_durable))
        found = self._find(ctypes.string_at(name).decode())
        if found is not None and code == 0:
            found[0].deleted(found[1])
        return code

    def _write(self, file: int, data: int, size: int, offset: int) -> int:
        watcher, name, own = self._files[file]
        code, _ = watcher.write(name, offset, ctypes.string_at(data, size))
        return code or int(_Write(own.write)(file, data, size, offset))

    def _truncate(self, file: int, size: int) -> int:
        watcher, name, own = self._files[file]
        return watcher.truncate(name, size) or int(_Truncate(own.truncate)(file, size))

    def _sync(self, file: int, _flags: int) -> int:
        watcher, name, _ = self._files[file]
        return watcher.sync(name)

    def _close(self, file: int) -> int:
        _, _, own = self._files.pop(file)
        return int(_Close(own.close)(file))


def _library() -> Any:
    library = ctypes.CDLL(_sqlite3.__file__)
    try:
        find, register, unregister = (
            library.sqlite3_vfs_find,
            library.sqlite3_vfs_register,
            library.sqlite3_vfs_unregister,
        )
    except AttributeError as error:
        raise NotSupportedError("this Python keeps its SQLite to itself") from error
    find.restype, find.argtypes = POINTER(_VfsStruct), [c_char_p]
    register.argtypes, unregister.argtypes = [c_void_p, c_int], [c_void_p]
    return library
