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


PARTS: dict[str, list[dict[str, Any]]] = {
    "a signature on nothing": [{"text": "a"}, {"text": "", "thoughtSignature": "ZW5k"}],
    "a signature beside nothing": [{"text": "a"}, {"thoughtSignature": "ZW5k"}],
    "signatures one after another": [
        {"text": "", "thoughtSignature": "b25l"},
        {"text": "a", "thoughtSignature": "dHdv"},
        {"text": "b", "thoughtSignature": "dGhyZWU="},
    ],
    "a thought that is signed": [{"text": "hm", "thought": True, "thoughtSignature": "c2ln"}, {"text": "a"}],
    "code and what came of it": [
        {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "c2ln"},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        {"text": "a"},
    ],
    "a tool of the server's": [
        {"toolCall": {"toolType": "FILE_SEARCH", "id": "t1"}, "thoughtSignature": "c2ln"},
        {"toolResponse": {"toolType": "FILE_SEARCH", "id": "t1"}, "thoughtSignature": "c2lu"},
        {"text": "a"},
    ],
    "a picture that is signed": [
        {"text": "a"},
        {"inlineData": {"mimeType": "image/png", "data": "UE5H"}, "thoughtSignature": "c2ln"},
    ],
    "a picture as nobody else writes it": [
        {"inlineData": {"mimeType": "image/png", "data": "UE5H", "displayName": "x"}},
    ],
    "keys that nobody knows": [
        {"text": "a", "partMetadata": {"x": 1}, "thoughtSignature": "c2ln"},
        {"functionCall": {"id": "c1", "name": "look", "args": {"n": 1}, "odd": 1}, "odd": 2},
    ],
}  # fmt: skip


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS.keys())
@pytest.mark.parametrize("is_split", [False, True], ids=["whole", "split"])
def test_parts_go_back_as_they_came(
    conversation: Conversation, parts: list[dict[str, Any]], *, is_split: bool
) -> None:
    """Each in its place, with all that stood beside it, whether in one event or in many."""
    answer = reply(conversation, *([[part] for part in parts] if is_split else [parts]))
    if answer.parts[-1].type == "tool_call":
        answer_calls(conversation, answer)
    else:
        conversation.append("user", "Go on.")
    contents, _ = ask(conversation, model="gemini-2.5-pro")
    assert contents[1]["parts"] == parts


def test_people_see_text_whatever_stands_beside_it(conversation: Conversation) -> None:
    """A key that nobody knows hides neither a text nor a call nor a picture."""
    answer = reply(conversation, PARTS["keys that nobody knows"], PARTS["a picture that is signed"])
    assert [part.type for part in answer.parts] == ["text", "tool_call", "text", "media"]
    assert (answer.text, answer.stop_reason) == ("aa", "tool_calls")


def test_an_empty_signature_is_none(conversation: Conversation) -> None:
    """It would be refused as one that is broken; what it stands on is a text like any other."""
    reply(conversation, [{"text": "a", "thoughtSignature": ""}], [{"text": "b"}])
    conversation.append("user", "Go on.")
    assert ask(conversation)[0][1]["parts"] == [{"text": "ab"}]


def piece(path: str, **value: Any) -> dict[str, Any]:
    """Return an event with a piece of a call's arguments."""
    return {"functionCall": {"partialArgs": [{"jsonPath": path, **value}], "willContinue": True}}


@pytest.mark.parametrize("end", [[{"functionCall": {}}], []], ids=["ended", "open"])
def test_arguments_may_come_in_pieces(conversation: Conversation, end: list[dict[str, Any]]) -> None:
    """Texts grow where their path says, and the call is the one that was signed."""
    first = {"functionCall": {"name": "cook", "willContinue": True}, "thoughtSignature": "c2ln"}
    pieces = [
        piece("$.dish", stringValue="La", willContinue=True),
        piece("$.dish", stringValue="sagne"),
        piece("$.steps[0].text", stringValue="Boil"),
        piece("$.steps[1]['how long']", numberValue=2.5),
        piece("$.hot", boolValue=True),
        piece("$.steps[99999999999]", stringValue="odd"),
        piece("$.dish.odd", stringValue="odd"),
        piece("$.none", nullValue="NULL_VALUE"),
    ]
    answer = reply(conversation, [first], *([part] for part in pieces), end)
    [call] = answer.parts
    answer_calls(conversation, answer)
    contents, _ = ask(conversation)
    [sent] = contents[1]["parts"]
    steps = [{"text": "Boil"}, {"how long": 2.5}]
    args = {"dish": "Lasagne", "steps": steps, "hot": True, "none": None}
    assert sent["functionCall"] == {"id": call.content["call_id"], "name": "cook", "args": args}
    assert sent["thoughtSignature"] == "c2ln"
