"""The public name of all that a conversation can do."""

from __future__ import annotations

from crdt_conv.conversation.branching import Branching
from crdt_conv.runs.runs import Runs


class Conversation(Branching):
    """
    One conversation. Made by a ``Store``; not to be used from two threads.

    Example:
        >>> from crdt_conv import Store
        >>> store = Store(":memory:", name="Ann")
        >>> conv = store.create(title="Trip")
        >>> question = conv.append("user", "Where shall we go?")
        >>> reply = conv.append("assistant", "To the sea.")
        >>> other = conv.edit(question.id, "Where shall we go in winter?")
        >>> conv.branches
        ['main', 'main-2']
        >>> [message.text for message in conv.log("main-2").messages]
        ['Where shall we go in winter?']
        >>> store.close()
    """

    @property
    def runs(self) -> Runs:
        """The runs of this conversation."""
        # Made anew: kept, the two would hold each other, and an idle document in memory.
        return Runs(self)
