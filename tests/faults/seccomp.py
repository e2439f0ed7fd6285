"""A filter in the kernel, for this process and for good: every fsync and fdatasync fails with EIO."""

from __future__ import annotations

import ctypes
import errno
import platform
import sys
from typing import Final

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000

# By machine: the kernel's mark of it (linux/audit.h), fsync, fdatasync.
_CALLS: Final = {"x86_64": (0xC000003E, 74, 75), "aarch64": (0xC00000B7, 82, 83)}


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


class NotSupportedError(Exception):
    """This machine or its kernel has no such filter."""


def refuse_fsync() -> None:
    """
    Let every fsync and fdatasync of this process fail from here on.

    Raises:
        NotSupportedError: It can't be done here.
    """
    calls = _CALLS.get(platform.machine())
    if sys.platform != "linux" or calls is None:
        raise NotSupportedError(f"no seccomp filter for {sys.platform} on {platform.machine()}")
    architecture, fsync, fdatasync = calls
    # See seccomp(2): the call's number stands at byte 0 of what a filter sees, the architecture at 4.
    instructions = (
        (_LOAD, 0, 0, 4),
        (_JUMP_IF_EQUAL, 0, 3, architecture),
        (_LOAD, 0, 0, 0),
        (_JUMP_IF_EQUAL, 2, 0, fsync),
        (_JUMP_IF_EQUAL, 1, 0, fdatasync),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EIO),
    )
    array = (_Instruction * len(instructions))(*(_Instruction(*values) for values in instructions))
    program = _Program(len(instructions), array)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


def _prctl(option: int, value: int, address: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_ulong(argument) for argument in (value, address, 0, 0))
    if libc.prctl(ctypes.c_int(option), *arguments):
        raise NotSupportedError(f"the kernel refuses a seccomp filter: {errno.errorcode[ctypes.get_errno()]}")
