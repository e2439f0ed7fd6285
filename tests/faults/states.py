"""What a conversation says, as plain values that go through a pipe, and whether two of them agree."""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

from crdt_conv import Conversation, Store

State: TypeAlias = dict[str, Any]
"""``title`` and ``branches``: the log of each as ``[id, status, digest]``; empty where there is none."""

ANY_ID = "?"
"""Stands for the id of a message or a conversation that is not written yet."""


def state_of(conversation: Conversation) -> State:
    """Return all that must outlive a fault."""
    logs = {branch: conversation.log(branch).messages for branch in conversation.branches}
    branches = {
        branch: [[message.id, message.status, digest(message.text)] for message in messages]
        for branch, messages in logs.items()
    }
    return {"title": conversation.title, "branches": branches}


def state_in(store: Store, conversation_id: str) -> State:
    """Return what a conversation of a store says."""
    # Not by opening it: what could not be made may be in memory for a moment longer.
    is_there = conversation_id in {info.id for info in store.list()}
    return state_of(store.open(conversation_id)) if is_there else {}


def digest(text: str) -> str:
    """Return a few digits that stand for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def ids_in(state: State) -> set[str]:
    """Return the ids of all messages."""
    return {message_id for log in state.get("branches", {}).values() for message_id, _, _ in log}


def with_new_ids_open(state: State, known: set[str]) -> State:
    """Return a state in which messages that are not known may have any id."""
    branches = {
        branch: [[entry[0] if entry[0] in known else ANY_ID, *entry[1:]] for entry in log]
        for branch, log in state["branches"].items()
    }
    return {**state, "branches": branches}


def agrees(found: State, wanted: State) -> bool:
    """Whether a state is the one that was wanted, order and all."""
    if not (found and wanted):
        return found == wanted
    return (
        found["title"] == wanted["title"]
        and found["branches"].keys() == wanted["branches"].keys()
        and all(_same_log(log, wanted["branches"][branch]) for branch, log in found["branches"].items())
    )


def _same_log(found: list[list[str]], wanted: list[list[str]]) -> bool:
    return len(found) == len(wanted) and all(
        entry[1:] == other[1:] and other[0] in {entry[0], ANY_ID}
        for entry, other in zip(found, wanted, strict=True)
    )
