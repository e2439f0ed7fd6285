"""
Errors of transport, grouped by what the caller does about them.

::

    SyncdError
    ├── StartError            ask the operator: port, token file
    └── SyncError             a client can't go on
        ├── SyncRefused       final: the token, the rights, the bytes; coming back won't help
        └── SyncTimeout       the other end was not reached in the time given

Text is for people; it never holds a token or a message's content.
"""

from __future__ import annotations


class SyncdError(Exception):
    """Base of every error that this package raises on purpose."""


class StartError(SyncdError):
    """The daemon can't start; the text says what to change."""


class ConfigError(SyncdError):
    """What stands in the configuration can't be; the text says where, and what to do."""


class SyncError(SyncdError):
    """A client could not bring a conversation in sync."""


class SyncRefused(SyncError):
    """The other end said no for good; ``code`` is its close code."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.code = code


class SyncTimeout(SyncError):
    """The other end could not be reached in the time given. What was written waits in the store."""
