"""
What people and models write and take out again, one rule an operation.

Each rule says from the oracle what must come of it, unless a gap is open where it
happens, and notes what was written.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from crdt_conv import Conversation, HiddenField, InvalidMessage, new_part
from tests.properties.machine import PICK, WHO, Network, Stream, visible, writer_of

ROLES = st.sampled_from(["user", "assistant", "assistant", "system", "tool"])
NAMES = st.sampled_from(["plan", "aside"])
SAID = st.sampled_from(["", "", "é", "\U0001f600", "two\nlines"])
SEALS = st.sampled_from([[], ["openai"], ["anthropic", "openai"]])
# Clocks differ: the log never goes by them. Beyond 48 bits ids don't sort by time any more.
CREATED = st.sampled_from([None, None, None, 7, 2**42, 2**50])
ENDS = st.sampled_from(["complete", "complete", "interrupted", "failed", "cancelled"])


class Messages(Network):
    """Messages, streams, hidden fields and redaction."""

    def __init__(self) -> None:
        super().__init__()
        self.stripped: set[tuple[str, int]] = set()
        self.maybe_stripped: set[tuple[str, int]] = set()

    def fields(self, providers: list[str]) -> list[HiddenField]:
        """Make hidden fields, of bytes and of JSON, told apart by ``created``."""
        fields = []
        for number, provider in enumerate(providers):
            words = self.words()
            data: Any = [words, None, 1.5] if number else b"\x00\xff" + words.encode()
            binding = "self" if self.count % 2 else "server"
            fields.append(HiddenField(provider, "x", "y", data, binding, created=self.count))
        return fields

    def expected_parents(self, conversation: Conversation, *branches: str) -> tuple[str, ...] | None:
        """Return what a new message stands on; nothing while a gap is open."""
        view = self.view(conversation)
        return None if view is None else self.oracle.next_parents(view, *branches)

    @rule(who=WHO, branch=PICK, role=ROLES, said=SAID, seals=SEALS, created=CREATED)
    def append(
        self, who: int, branch: int, role: str, said: str, seals: list[str], created: int | None
    ) -> None:
        conversation = self.at(who)
        name, text, fields = self.branch_of(conversation, branch), self.words() + said, self.fields(seals)
        expected = self.expected_parents(conversation, name)
        written = conversation.append(role, text, hidden=fields, branch=name, created=created)
        assert expected in {None, written.parents}
        self.note(written, text, *fields)

    @rule(who=WHO, picks=st.lists(PICK, min_size=1, max_size=3), branch=NAMES, role=ROLES, created=CREATED)
    def append_onto(self, who: int, picks: list[int], branch: str, role: str, created: int | None) -> None:
        conversation, text = self.at(who), self.words()
        parents = tuple(dict.fromkeys(self.pick(conversation, at) for at in picks))
        name = branch if len(picks) > 1 else conversation.message(parents[0]).branch
        written = conversation.append(role, text, branch=name, parents=parents, created=created)
        assert (written.parents, written.branch) == (parents, name)
        self.note(written, text)

    @rule(who=WHO, at=PICK, said=SAID)
    def answer_beside_others(self, who: int, at: int, said: str) -> None:
        """Write an alternative to a reply, of several parts, by way of the document."""
        conversation, text = self.at(who), self.words() + said
        beside = conversation.message(self.pick(conversation, at))
        call = {"call_id": "1", "name": "look", "arguments": '{"at": 1}'}
        written = conversation.append(
            "assistant",
            text,
            parts=[new_part("tool_call", **call)],
            branch=beside.branch,
            parents=beside.parents if beside.is_reply else [beside.id],
            usage={"output_tokens": 3},
        )
        assert visible(written)["parts"][1:] == [{"type": "tool_call", **call}]
        self.note(written, text)

    # Streams

    @rule(who=WHO, branch=PICK, at=PICK, is_aside=st.booleans())
    def begin_to_stream(self, who: int, branch: int, at: int, is_aside: bool) -> None:  # noqa: FBT001
        conversation = self.at(who)
        name, parents = self.branch_of(conversation, branch), None
        if is_aside:
            beside = conversation.message(self.pick(conversation, at))
            name, parents = beside.branch, beside.parents if beside.is_reply else [beside.id]
        expected = self.expected_parents(conversation, name)
        writer = conversation.stream(branch=name, parents=parents)
        assert parents or expected in {None, writer.message.parents}
        self.note(writer.message)
        self.streams.append(Stream(self.number(who), writer.message_id))

    @rule(which=PICK, said=SAID, part_type=st.sampled_from(["text", "text", "reasoning"]))
    def go_on_streaming(self, which: int, said: str, part_type: str) -> None:
        stream = self.open_stream(which)
        if stream is not None:
            text = self.words() + said
            writer_of(self.at(stream.number), stream).write(text, part_type)
            self.oracle.messages[stream.message_id].grow(part_type, text)

    @rule(which=PICK, status=ENDS)
    def finish_a_stream(self, which: int, status: str) -> None:
        stream = self.open_stream(which)
        if stream is not None:
            written = writer_of(self.at(stream.number), stream).finish(status, stop_reason="so")
            self.oracle.messages[stream.message_id].status = written.status
            self.streams.remove(stream)
            assert written.status == status

    def open_stream(self, which: int) -> Stream | None:
        """Return a stream that can go on; one that was redacted refuses whatever comes."""
        if not self.streams:
            return None
        stream = self.streams[which % len(self.streams)]
        conversation = self.at(stream.number)
        if not is_redacted(conversation, stream.message_id):
            return stream
        with pytest.raises(InvalidMessage):
            writer_of(conversation, stream).write("too late")
        self.streams.remove(stream)
        return None

    # Hidden fields and redaction

    @rule(who=WHO, at=PICK, seals=SEALS)
    def seal(self, who: int, at: int, seals: list[str]) -> None:
        conversation, fields = self.at(who), self.fields(seals)
        message = conversation.message(self.pick(conversation, at))
        # One merge made twice is one message, and of all its keys only the derived ones are sure to stay.
        if message.role != "merge" and not is_redacted(conversation, message.id):
            conversation.add_hidden(message.id, *fields)
            self.sealed[message.id].append(fields)

    @rule(who=WHO, provider=st.sampled_from(["", "openai", "anthropic"]))
    def strip(self, who: int, provider: str) -> None:
        conversation = self.at(who)
        has_gap = self.view(conversation) is None
        seen = {
            (message.id, field.created)
            for message in conversation.messages()
            for field in conversation.hidden(message.id)
            if provider in {"", field.provider}
        }
        removed = conversation.strip(lambda field: provider in {"", field.provider})
        self.stripped |= seen
        if has_gap:
            # Also half of a field may have been there, of which nobody can tell which it is.
            sealed = ((m, field) for m, groups in self.sealed.items() for group in groups for field in group)
            self.maybe_stripped |= {(m, field.created) for m, field in sealed}
        assert has_gap or removed == len(seen)

    @rule(who=WHO, at=PICK)
    def redact(self, who: int, at: int) -> None:
        conversation = self.at(who)
        message = conversation.message(self.pick(conversation, at))
        if message.role != "merge":
            written = conversation.redact(message.id)
            self.oracle.redact(message.id)
            assert is_redacted(conversation, message.id)
            if self.view(conversation) is not None:
                assert (written.status, written.parts, written.nonce) == ("redacted", (), b"")
                assert conversation.hidden(message.id) == []


def is_redacted(conversation: Conversation, message_id: str) -> bool:
    """Whether a document says so; of what came behind a gap its index is not told while that is open."""
    says = conversation.read("messages", message_id)
    return "redacted" in says or says["status"] == "redacted"
