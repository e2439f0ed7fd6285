"""
Errors of the canonical state, grouped by what the caller does about them.

::

    CrdtConvError
    ├── UsageError                 mend the call: an unknown id, a wrong role
    │   ├── UnknownConversation
    │   │   └── ConversationDeleted    a StoreError, too: it may go while one writes
    │   ├── UnknownMessage
    │   ├── UnknownBranch
    │   ├── UnknownRun
    │   └── InvalidMessage
    ├── MalformedUpdate            refuse it: bytes that are no Yjs update
    ├── MalformedEntry           quarantine it: a message of the wrong shape
    └── StoreError                 ask the user: the disk or the file
        ├── ConversationDeleted
        ├── StoreLocked            another process is writing
        ├── StoreMissing
        ├── StoreReadOnly
        ├── StoreFull
        ├── StoreCorrupt
        │   └── IndexLost          read from the log instead: it is derived, and made anew
        └── StoreTooNew            written by a later version

Data stand in attributes; no text of an error holds a message's content.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class CrdtConvError(Exception):
    """Base of every error that this package raises on purpose."""


class UsageError(CrdtConvError):
    """The caller asked for something that can't be done."""


class UnknownConversation(UsageError):
    """No conversation of this id is in the store."""

    def __init__(self, conversation: str) -> None:
        super().__init__(f"no conversation {conversation} in this store: 'conv ls' lists them")
        self.conversation = conversation


class UnknownMessage(UsageError):
    """No message of this id is in the conversation, or it waits for a parent."""

    def __init__(self, message: str) -> None:
        super().__init__(f"no message {message} in this conversation")
        self.message = message


class UnknownBranch(UsageError):
    """No branch of this name is in the conversation."""

    def __init__(self, branch: str) -> None:
        super().__init__(f"no branch {branch!r} in this conversation")
        self.branch = branch


class UnknownRun(UsageError):
    """No run of this id is in the conversation."""

    def __init__(self, run: str) -> None:
        super().__init__(f"no run {run} in this conversation")
        self.run = run


class InvalidMessage(UsageError):
    """The caller's message, branch or id is not one the contract allows."""


class MalformedUpdate(CrdtConvError):
    """Bytes that are no Yjs update (V1), or that the document can't integrate."""


class MalformedEntry(CrdtConvError):
    """An entry of a document that is no message or run of schema 1."""


class StoreError(CrdtConvError):
    """The store's file or disk is in the way; nothing acknowledged is lost."""


class ConversationDeleted(UnknownConversation, StoreError):
    """The conversation was deleted for good: nothing is read from it or written to it again."""

    def __init__(self, conversation: str) -> None:
        super().__init__(conversation)
        self.args = (f"the conversation {conversation} was deleted, and its id is not given again",)


@dataclass(frozen=True, slots=True)
class StoreOwner:
    """Who writes to a store: ``url`` is where its daemon listens, or empty."""

    pid: int
    program: str
    url: str = ""


class StoreLocked(StoreError):
    """Another process is writing to this store; ``owner`` says which, where it is known."""

    def __init__(self, path: Path, owner: StoreOwner | None) -> None:
        by = f"{owner.program} (process {owner.pid})" if owner else "another process"
        super().__init__(f"{path} is in use by {by}: stop it, or choose another file with --db")
        self.path = path
        self.owner = owner


class StoreMissing(StoreError):
    """There is no store at this path, and it was not to be made."""


class StoreReadOnly(StoreError):
    """The file or its folder can't be written."""


class StoreFull(StoreError):
    """The disk is full. What was acknowledged is safe; the last write did not happen."""


class StoreCorrupt(StoreError):
    """The file is no SQLite database, or a page of it is damaged."""


class IndexLost(StoreCorrupt):
    """The stored index is not there, any more perhaps. It is derived: all of it can be read from the log."""


class StoreTooNew(StoreError):
    """The store was written by a later version of crdt-conv."""


def is_panic(error: BaseException) -> bool:
    """Whether an error is a panic of pycrdt, which no ``except Exception`` catches."""
    return type(error).__name__ == "PanicException"


def told_of(error: BaseException) -> BaseException:
    """Return what a caller is told where pycrdt refuses a value."""
    if is_panic(error) or isinstance(error, UnicodeEncodeError | TypeError | OverflowError):
        return InvalidMessage("a value that no document can hold")
    return error
