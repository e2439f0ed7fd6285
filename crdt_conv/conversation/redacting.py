"""Redaction: what a message said and hid is taken out, wherever it was copied to and whoever writes on."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from crdt_conv.conversation.writing import Writing
from crdt_conv.document import redaction
from crdt_conv.errors import StoreError
from crdt_conv.ids import MessageId
from crdt_conv.messages.message import REDACTED, Message


class Redacting(Writing):
    """What is taken out again."""

    def redact(self, message_id: str, *, copies: bool = True) -> Message:
        """
        Take out what a message says and hides, on every replica; its place in the graph stays.

        After the next compaction the bytes are in no file of the store. Forks of this
        conversation in the same store are redacted with it, and so is the text of errors of
        runs that may quote it.

        Args:
            message_id: The message.
            copies: Redact what squash and cherry-pick made from it, too, wherever and whenever
                that is heard of; ``copies`` of this conversation names what is here.

        Raises:
            UnknownMessage: It is not here.
            StoreError: It could not be made durable.
        """
        graph = self.graph
        redacted = {graph[message_id].id} | (self.index.copies(graph[message_id].id) if copies else set())
        mark = True if copies else redaction.ALONE
        if not self._is_redacted(message_id, mark=mark) or not all(
            graph[m].status == REDACTED for m in redacted
        ):
            with self.writing() as document:
                for each in redacted:
                    redaction.empty(document, each, mark=mark)
                for run_id in redaction.quoting_runs(document, graph, redacted):
                    redaction.unquote(document, run_id)
        return self.message(message_id)

    def _is_redacted(self, message_id: str, *, mark: str | bool) -> bool:
        node = self.graph[message_id]
        return node.status == REDACTED and (
            mark == redaction.ALONE or redaction.reaches_copies(self.document, node.id)
        )

    def _sweep(self, changed: Iterable[MessageId]) -> None:
        """Empty what was written into redacted messages, or copied from them, by who had not heard of it."""
        if not self._log.is_writable:
            # Whoever can write will.
            return
        graph = self.graph
        touched = {message_id for message_id in changed if message_id in graph}
        redacted = {message_id for message_id in touched if graph[message_id].status == REDACTED}
        left = {message_id for message_id in redacted if redaction.has_rest(self.document, message_id)}
        left |= self._late_copies(redacted.union(*(graph[message_id].source for message_id in touched)))
        quoting = redaction.quoting_runs(self.document, graph, redacted) if redacted else []
        # On a full disk, say: done when it is next opened.
        with suppress(StoreError):
            if left or quoting:
                with self.writing() as document:
                    for message_id in left:
                        redaction.empty(document, message_id)
                    for run_id in quoting:
                        redaction.unquote(document, run_id)

    def _late_copies(self, originals: Iterable[MessageId]) -> set[MessageId]:
        """Return what stands as it was, though the original of it was redacted with its copies."""
        graph = self.graph
        found: set[MessageId] = set()
        for original in originals:
            if original in graph and graph[original].status == REDACTED:
                late = {copy for copy in self.index.copies(original) if graph[copy].status != REDACTED}
                if late and redaction.reaches_copies(self.document, original):
                    found |= late
        return found
