"""What Gemini is sent of a log, and which signatures go along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from adapters import Gemini
from adapters.exchange import Finished, Hidden, Report, Usage
from adapters.gemini.kinds import DUMMY
from adapters.writing import write_answer
from crdt_conv import Conversation, Message, Store, Target, new_part

GEMINI = Gemini("gemini-3-pro", api_key="key")
GOOGLE = "https://aiplatform.googleapis.com/v1/publishers/google"
VERTEX = Gemini("gemini-3-pro", base_url=GOOGLE, api_key="key")


@pytest.fixture
def conversation() -> Conversation:
    """Return a conversation with a question."""
    conversation = Store(":memory:").create()
    conversation.append("user", "Where?")
    return conversation


def ask(
    conversation: Conversation, adapter: Gemini = GEMINI, model: str | None = None
) -> tuple[Sequence[Any], Report]:
    """Return the contents of a request, and the report."""
    log = conversation.lin(*(head.id for head in conversation.heads()))
    target = Target("gemini", model)
    request, report = adapter.materialize(log, target, (), Hidden.of(conversation, now_ms=0))
    assert request.body is not None
    return request.body["contents"], report


def reply(conversation: Conversation, *chunks: Sequence[dict[str, Any]]) -> Message:
    """Answer a conversation, as Gemini would, in so many events."""
    log = conversation.lin(*(head.id for head in conversation.heads()))
    request, _ = GEMINI.materialize(log, Target("gemini"), (), Hidden.of(conversation, now_ms=0))
    ingest = GEMINI.ingest(request)
    operations = [
        operation
        for parts in chunks
        for operation in ingest.feed({"candidates": [{"content": {"role": "model", "parts": list(parts)}}]})
    ]
    operations += [*ingest.feed({"candidates": [{"finishReason": "STOP"}]}), *ingest.end()]
    return write_answer(conversation, operations, conversation.stream)


def answer_calls(conversation: Conversation, answer: Message) -> None:
    """Write a result for each call of an answer."""
    calls = [part.content["call_id"] for part in answer.parts if part.type == "tool_call"]
    results = [new_part("tool_result", call_id=call, content="done", is_error=False) for call in calls]
    conversation.append("tool", parts=results)


CALLS = (
    {"functionCall": {"name": "look", "args": {"n": 1}}, "thoughtSignature": "c2ln"},
    {"functionCall": {"name": "look", "args": {"n": 2}}},
)


def test_signatures_go_back_on_their_parts(conversation: Conversation) -> None:
    """Of parallel calls one is signed; signed texts are not joined, and an empty one keeps its place."""
    texts = ({"text": "I "}, {"text": "look."}, {"text": "Now.", "thoughtSignature": "dHh0"})
    end = [{"text": "Well."}, {"text": "", "thoughtSignature": "ZW5k"}]
    answer = reply(conversation, texts, [{"text": "So."}], CALLS, end)
    answer_calls(conversation, answer)
    contents, _ = ask(conversation)
    sent = [(part.get("text"), part.get("thoughtSignature")) for part in contents[1]["parts"]]
    texts_sent = [("I look.", None), ("Now.", "dHh0"), ("So.", None)]
    assert sent == [*texts_sent, (None, "c2ln"), (None, None), ("Well.", None), ("", "ZW5k")]
    assert [part["functionResponse"]["response"] for part in contents[2]["parts"]] == [{"output": "done"}] * 2


def test_what_was_signed_elsewhere_says_so(conversation: Conversation) -> None:
    """Google's two backends can't read each other's signatures: a call goes with the word for that."""
    answer_calls(conversation, reply(conversation, CALLS))
    contents, report = ask(conversation, VERTEX)
    assert [part.get("thoughtSignature") for part in contents[1]["parts"]] == [DUMMY, None]
    assert "gemini-api sealed it, vertex can't read it" in report.left_out[0].reason
    assert "not signed here" in report.repairs[0].reason
    older, _ = ask(conversation, VERTEX, "gemini-2.5-pro")
    assert "thoughtSignature" not in older[1]["parts"][0]


def test_answers_in_a_row_are_one_content(conversation: Conversation) -> None:
    """A call stands right behind the user's turn, also where two devices' answers were merged."""
    [question] = conversation.heads()
    one = conversation.append("assistant", "One.", parents=[question.id])
    other = conversation.append("assistant", "Two.", parents=[question.id], branch="b")
    conversation.append("user", "And now?", parents=[one.id, other.id])
    contents, _ = ask(conversation)
    assert [content["role"] for content in contents] == ["user", "model", "user"]
    assert contents[1]["parts"] == [{"text": "One."}, {"text": "Two."}]


def test_reasons_and_counts(conversation: Conversation) -> None:
    """A blocked prompt is no answer of text; thoughts count as output."""
    log = conversation.lin(conversation.heads()[0].id)
    ingest = GEMINI.ingest(GEMINI.materialize(log, Target("gemini"), (), Hidden())[0])
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 3}
    ingest.feed({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage})
    [finished] = ingest.end()
    assert isinstance(finished, Finished)
    assert isinstance(finished.usage, Usage)
    assert (finished.stop_reason, finished.usage.output_tokens) == ("content_filter", 5)
