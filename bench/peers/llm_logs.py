"""Simon Willison's ``llm``: its ``logs.db``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import llm
import sqlite_utils
from llm.cli import load_conversation
from llm.logs import LogStore
from llm.parts import Message, Part, ReasoningPart, StreamEvent, TextPart
from llm.plugins import pm

from bench.conversations import Synthetic
from bench.peers.port import as_text, files_of


class Echo(llm.Model):
    """A model without a network: it answers with the message that it is handed."""

    model_id = "bench-echo"
    answer = Synthetic("assistant", "")

    def execute(
        self,
        prompt: llm.Prompt,  # noqa: ARG002 - the plugin's signature
        stream: bool,  # noqa: ARG002, FBT001 - the plugin's signature
        response: llm.Response,  # noqa: ARG002 - the plugin's signature
        conversation: llm.Conversation | None,  # noqa: ARG002 - the plugin's signature
    ) -> Iterator[StreamEvent]:
        """Yield the reasoning, if there is any, and the text."""
        if self.answer.hidden is not None:
            metadata = {"encrypted_content": as_text(self.answer.hidden)}
            yield StreamEvent(type="reasoning", chunk="", provider_metadata=metadata)
        yield StreamEvent(type="text", chunk=self.answer.text)


ECHO = Echo()


class EchoPlugin:
    """Make the model known, so that a loaded conversation finds it by its name."""

    @llm.hookimpl
    def register_models(self, register: Any) -> None:
        """Register the one."""
        register(ECHO)


pm.register(EchoPlugin())


def _message(message: Synthetic) -> Message:
    parts: list[Part] = [TextPart(message.text)]
    if message.hidden is not None:
        parts.insert(0, ReasoningPart(provider_metadata={"encrypted_content": as_text(message.hidden)}))
    return Message(message.role, parts)


def _text(message: Message) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, TextPart))


class LlmStorePeer:
    """
    Its message store alone: ``LogStore.append``, one message a call.

    Faster than what its command line does, and less: no record of the turn (model, times, tokens) and no
    search index. Messages are a tree, each found by a BLAKE2b hash of itself and its parent's hash.

    Nothing sets a pragma: a rollback journal and ``synchronous=FULL``. A message takes two transactions,
    itself and then the thread's tip, of four fsyncs each: one that is cut between them leaves the old tip.
    """

    name = "llm-store"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = sqlite_utils.Database(path)
        self.store = LogStore(self.db)  # type: ignore[no-untyped-call]
        self.thread = self.store.create_thread()
        self.branches: list[str] = []

    def append(self, message: Synthetic) -> None:
        """Append to the thread."""
        self.store.append(self.thread, [_message(message)])

    def _tails(self, threads: Sequence[str]) -> list[str]:
        with sqlite_utils.Database(self.path) as db:
            store = LogStore(db)  # type: ignore[no-untyped-call]
            return [_text(store.thread_messages(thread)[-1]) for thread in threads]

    def reopen_and_read_tail(self) -> str:
        """Read all messages of the thread."""
        return self._tails([self.thread])[0]

    def fork(self, replies: Sequence[Synthetic]) -> None:
        """Fork a thread for each reply from the same tip; no message is copied."""
        tip = self.store.thread_tip(self.thread)
        assert tip is not None
        for reply in replies:
            self.branches.append(self.store.fork(tip, forked_from=self.thread))
            self.store.append(self.branches[-1], [_message(reply)])

    def branch_tails(self) -> list[str]:
        """Read all messages of each thread."""
        return self._tails(self.branches)

    def close(self) -> None:
        """Close the database."""
        self.db.close()

    def files(self) -> list[Path]:
        """Return the database's files."""
        return files_of(self.path)


class LlmPeer(LlmStorePeer):
    """
    What ``llm chat`` does: a prompt, a model's answer, and ``response.log_to_db`` for the two together.

    So a user's message is not on disk until its answer is: ``append`` keeps it, and the next call writes
    both, in one transaction with the turn's record and its search row: four fsyncs. Each time the whole
    conversation is hashed anew and each message looked up. Rollback journal, ``synchronous=FULL``.
    """

    name = "llm"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.conversation = ECHO.conversation()
        self.thread = self.conversation.id
        self.prompt = ""

    def append(self, message: Synthetic) -> None:
        """Keep a prompt, or have it answered and log both."""
        if message.role == "user":
            self.prompt = message.text
            return
        ECHO.answer = message
        response = self.conversation.prompt(self.prompt)
        response.text()
        response.log_to_db(self.db)  # type: ignore[no-untyped-call]

    def reopen_and_read_tail(self) -> str:
        """Load the conversation as ``llm -c`` does."""
        conversation = load_conversation(self.thread, database=str(self.path))
        assert conversation is not None
        assert conversation.loaded_messages is not None
        return _text(conversation.loaded_messages[-1])
