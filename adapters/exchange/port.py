"""The port: what the executor needs of an adapter, and what an adapter gets beside the log."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from adapters.exchange.operations import Operation
from adapters.exchange.request import Json, Report, Request
from adapters.exchange.tools import Tool
from crdt_conv import Conversation, HiddenField, Message, Target
from crdt_conv.messages.hidden import SERVER


def _no_fields(_message_id: str) -> Sequence[HiddenField]:
    return ()


def _no_blob(_sha256: str) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True)
class Hidden:
    """
    What stands beside a log: hidden fields by message, and the bytes of blobs.

    ``now_ms`` is the time against which fields expire. ``refused`` names what a provider has
    refused before, and so is not sent again: a message's id stands for what was sealed into
    it, with ``:server`` behind it for the names of server-held state that it carries.
    """

    fields: Callable[[str], Sequence[HiddenField]] = _no_fields
    blob: Callable[[str], bytes | None] = _no_blob
    now_ms: int = 0
    refused: frozenset[str] = frozenset()
    read: Callable[[Message], Sequence[HiddenField]] | None = None
    """The same as ``fields``, of a message that is at hand."""

    @classmethod
    def of(cls, conversation: Conversation, *, now_ms: int, refused: frozenset[str] = frozenset()) -> Hidden:
        """Return a conversation's as they are now; each message is read once."""
        known: dict[str, Sequence[HiddenField]] = {}

        def read(message: Message) -> Sequence[HiddenField]:
            if message.id not in known:
                known[message.id] = conversation.hidden(message)
            return known[message.id]

        return cls(conversation.hidden, conversation.blob, now_ms, refused, read)

    def is_refused(self, field: HiddenField, message: Message) -> bool:
        """Whether a provider has refused this field before."""
        return refused_key(message.id, field.binding) in self.refused

    def of_message(self, message: Message) -> Sequence[HiddenField]:
        """Return a message's fields, in the order of their parts."""
        if not message.hidden_count:
            return ()
        return self.read(message) if self.read is not None else self.fields(message.id)


def refused_key(message_id: str, binding: str) -> str:
    """Return what stands in ``Hidden.refused`` for fields of a message."""
    return f"{message_id}:{SERVER}" if binding == SERVER else message_id


class Ingest(Protocol):
    """Turns the events of one answer into operations. Pure but for what it remembers."""

    def feed(self, event: Mapping[str, Json]) -> Sequence[Operation]:
        """
        Take one event of the provider.

        Raises:
            AdapterError: The event is an error.
        """

    def end(self) -> Sequence[Operation]:
        """
        Take the end of the stream; the last operation is ``Finished``.

        Raises:
            StreamBroken: It came too early.
        """


class Adapter(Protocol):
    """A provider, as the executor sees it."""

    @property
    def name(self) -> str:
        """What ``Target.adapter`` calls it."""

    @property
    def model(self) -> str:
        """The model it answers with, where a target leaves that open."""

    @property
    def at_once(self) -> int:
        """How many answers it can give at the same time."""

    def materialize(
        self, log: Sequence[Message], target: Target, tools: Sequence[Tool], hidden: Hidden
    ) -> tuple[Request, Report]:
        """
        Turn a log into a request. Pure.

        Args:
            log: What is to be answered, as ``lin`` returns it.
            target: Which model, and with which parameters.
            tools: What the run offers beside the tools in the log.
            hidden: The log's hidden fields and blobs.

        Raises:
            NothingToAnswer: Nothing in it can be answered.
        """

    def ingest(self, request: Request) -> Ingest:
        """Begin to read the answer to a request."""

    def stream(self, request: Request) -> AsyncGenerator[Mapping[str, Json], None]:
        """
        Make the call, and yield the provider's events; closing it ends the call.

        Raises:
            AdapterError: The call failed.
        """

    async def serve(self) -> None:
        """Keep what the calls need, a process say, until cancelled."""


@runtime_checkable
class Continues(Protocol):
    """
    An adapter that can go on in the middle of an answer.

    Where an earlier owner of the run has left an interrupted answer, that stands at the end of the log
    it materializes; the new answer begins with what had come.
    """

    @property
    def is_continuing(self) -> bool:
        """True: its being there says it."""


@runtime_checkable
class Resumes(Protocol):
    """
    An adapter whose provider may go on with an answer that nobody listens to.

    Its ``Ingest`` tells the answer's name in ``Reported.reused``, under ``handle_key``.
    """

    @property
    def handle_key(self) -> str:
        """Under which key the name stands on record in a run's ``sent.reused``."""

    def resume(self, request: Request, handle: str) -> AsyncGenerator[Mapping[str, Json], None]:
        """
        Yield the events of an answer that an earlier owner of the run asked for, from the first.

        Raises:
            AdapterError: It is not there any more, or can't be reached.
        """

    async def drop(self, handle: str) -> None:
        """
        Have the provider end an answer that nobody wants any more.

        Raises:
            AdapterError: It was not reached.
        """


@runtime_checkable
class Forgets(Protocol):
    """An adapter that keeps something of conversations outside of them."""

    def forget(self, messages: Collection[str]) -> None:
        """
        Remove what was made of any of these messages: they were redacted.

        Args:
            messages: Ids: the redacted ones, and those that they answered.
        """
