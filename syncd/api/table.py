"""The one table of operations: what is served and what is described."""

from __future__ import annotations

from typing import Final

from syncd.api import admin, blobs, conversations, events, messages, runs, search, tools, updates

OPERATIONS: Final = (
    *conversations.OPERATIONS,
    *messages.OPERATIONS,
    *runs.OPERATIONS,
    *events.OPERATIONS,
    *updates.OPERATIONS,
    *blobs.OPERATIONS,
    *search.OPERATIONS,
    *tools.OPERATIONS,
    *admin.OPERATIONS,
)
