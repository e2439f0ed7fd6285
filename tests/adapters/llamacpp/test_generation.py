"""One answer of one or several calls, with a server that says what a test tells it to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import anyio
import pytest

from adapters.errors import AdapterError, ProviderUnavailable, RequestRefused, StreamBroken
from adapters.llamacpp import generation as module
from adapters.llamacpp.generation import Generation, Wanted

pytestmark = pytest.mark.anyio

TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
CALL = '{"name": "add", "arguments": {}}'
Script = Sequence[Mapping[str, Any] | AdapterError]


def said(text: str, *, ids: Sequence[int] | None = None, predicted: int = 0) -> dict[str, Any]:
    """Return an event with text; a letter is a token, but for what a test says."""
    return {"content": text, "tokens": list(ids or map(ord, text)), "tokens_predicted": predicted}


def stop(kind: str = "eos", word: str = "", **more: Any) -> dict[str, Any]:
    """Return the last event."""
    timings = {"cache_n": 3, "predicted_n": 1}
    return {"content": "", "stop": True, "stop_type": kind, "stopping_word": word, "timings": timings, **more}


class Scripted:
    """Answers each request with the next script."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.requests: list[Mapping[str, Any]] = []

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        assert path == "/completion"
        self.requests.append(body)
        for event in self.scripts[len(self.requests) - 1]:
            if isinstance(event, AdapterError):
                raise event
            yield dict(event)

    async def tokenize_mixed(
        self, content: Sequence[str | int], *, add_special: bool, parse_special: bool
    ) -> list[int]:
        return [ord(letter) for item in content for letter in str(item)]

    async def detokenize(self, tokens: Sequence[int]) -> str:
        return "".join(map(chr, tokens))


def prompts(server: Scripted) -> list[str]:
    """Return what was asked of a server, as letters."""
    return ["".join(map(chr, request["prompt"])) for request in server.requests]


async def answer(
    server: Scripted, *, recovers: bool = False, **wanted: Any
) -> tuple[str, str, dict[str, Any]]:
    """Return text, tokens (as letters, as a reader of the events counts them), and the end."""

    async def recover(_ids: Sequence[int]) -> tuple[Scripted, int]:
        return server, 1

    generation = Generation(server, Wanted((ord(">"),), slot=0, **wanted), recover if recovers else None)
    text, ids, end = "", list[int](), {}
    async for event in generation.events():
        if "end" in event:
            end = event["end"]
            continue
        text += event["content"]
        del ids[len(ids) - event.get("dropped", 0) :]
        ids += event["tokens"]
    assert ids == generation.ids
    return text, "".join(map(chr, ids)), end


async def test_text_and_tokens_come_together() -> None:
    """The token that ends the answer is none of its own."""
    server = Scripted(
        [said("R", predicted=1), said("o", predicted=2), said("", ids=[2], predicted=3), stop()]
    )
    text, ids, end = await answer(server, sampling={"temperature": 0}, max_tokens=9)
    assert (text, ids, end["stop_type"], end["cached_tokens"], end["output_tokens"]) == (
        "Ro",
        "Ro",
        "eos",
        3,
        2,
    )
    assert server.requests == [
        {
            "temperature": 0,
            "prompt": [ord(">")],
            "stream": True,
            "return_tokens": True,
            "cache_prompt": True,
            "preserved_tokens": ["<tool_call>", "</tool_call>", "<think>", "</think>"],
            "n_predict": 9,
            "id_slot": 0,
        }
    ]


async def test_tokens_that_the_server_does_not_tell_of_are_found() -> None:
    """A character of three tokens comes with the last of them; the others are those of its text."""
    server = Scripted([said("abc", ids=[ord("c")], predicted=3), said("d", predicted=4), stop()])
    text, ids, end = await answer(server)
    assert (text, ids, end["is_exact"]) == ("abcd", "abcd", True)


async def test_tokens_that_can_not_be_found_are_told_of() -> None:
    """When its text has other tokens, the answer is not exact any more, and says so."""
    server = Scripted([said("abc", ids=[ord("x")], predicted=3), stop()])
    text, ids, end = await answer(server)
    assert (text, ids, end["is_exact"]) == ("abc", "abc", False)


@pytest.mark.parametrize("broken", [StreamBroken("cut"), ProviderUnavailable("gone")])
async def test_it_goes_on_from_its_tokens(broken: AdapterError) -> None:
    """When the server dies, the next one gets the tokens so far; nothing comes twice, nothing is lost."""
    server = Scripted([said("R"), said("o"), broken], [broken], [said("m"), said("e"), stop()])
    text, ids, end = await answer(server, recovers=True, max_tokens=5)
    assert (text, ids, end["recoveries"]) == ("Rome", "Rome", 2)
    assert prompts(server) == [">", ">Ro", ">Ro"]
    assert [request["n_predict"] for request in server.requests] == [5, 3, 3]
    assert [request["id_slot"] for request in server.requests] == [0, 1, 1]


async def test_tokens_with_no_text_yet_are_generated_again() -> None:
    """Half a character, or half a stop word, was shown to nobody."""
    server = Scripted([said("R"), said("", ids=[99]), StreamBroken("cut")], [said("o"), stop()])
    assert (await answer(server, recovers=True, stop=("xy",)))[:2] == ("Ro", "Ro")
    assert prompts(server) == [">", ">R"]


async def test_a_server_that_keeps_dying_is_given_up() -> None:
    """Not for ever; a token in between begins the count anew."""
    died = StreamBroken("cut")
    moving: list[Script] = [[said("a"), died]] * 5
    stuck: list[Script] = [[died]] * module.MAX_RECOVERIES
    server = Scripted(*moving, *stuck)
    with pytest.raises(StreamBroken):
        await answer(server, recovers=True)
    assert len(server.requests) == 5 + module.MAX_RECOVERIES


@pytest.mark.parametrize(("error", "recovers"), [(StreamBroken("x"), False), (RequestRefused("x"), True)])
async def test_what_is_not_ours_to_mend_is_raised(error: AdapterError, *, recovers: bool) -> None:
    """Another's server, or a refusal."""
    server = Scripted([said("R"), error])
    with pytest.raises(type(error)):
        await answer(server, recovers=recovers)
    assert len(server.requests) == 1


async def test_a_crash_at_the_last_token_asks_for_no_more() -> None:
    """Nothing is left to be generated: the answer is at its limit."""
    server = Scripted([said("R"), said("o"), StreamBroken("cut")])
    text, _, end = await answer(server, recovers=True, max_tokens=2)
    assert (text, end["stop_type"], len(server.requests)) == ("Ro", "limit", 1)


async def test_what_is_bound_to_a_schema_begins_anew_and_is_shown_once() -> None:
    """A grammar knows no middle: the same comes again, by the same seed, and only the rest goes out."""
    server = Scripted(
        [said("{"), said('"a'), StreamBroken("cut")], [said('{"'), said('a"'), said("}"), stop()]
    )
    text, ids, _ = await answer(server, recovers=True, schema={"type": "object"})
    assert (text, ids) == ('{"a"}', '{"a"}')
    assert prompts(server) == [">", ">"]
    assert len({request["seed"] for request in server.requests}) == 1


async def test_a_schema_that_comes_out_otherwise_breaks_off() -> None:
    """What was shown can't be taken back."""
    server = Scripted([said("{a"), StreamBroken("cut")], [said("{b"), stop()])
    with pytest.raises(StreamBroken, match="came out otherwise"):
        await answer(server, recovers=True, schema={"type": "object"})


async def test_a_stop_word_leaves_no_token_behind() -> None:
    """Of a token that begins in the text and ends in the word, the text is tokenized again."""
    server = Scripted([said("a"), said("b", ids=[1234]), stop("word", "|")])
    text, ids, end = await answer(server, stop=("|",))
    assert (text, ids, end["stopping_word"]) == ("ab", "ab", "|")


async def test_a_call_is_generated_within_its_schema() -> None:
    """Where the model begins one, the rest is bound to the tool's arguments, behind the tokens so far."""
    server = Scripted(
        [said("Well "), said("", ids=[1, 2]), stop("word", "<tool_call>")],
        [said(CALL), stop()],
        [said("", ids=[7]), stop()],
    )
    text, ids, end = await answer(server, tools=TOOLS)
    assert text == ids == f"Well <tool_call>\n{CALL}\n</tool_call>"
    assert (prompts(server)[1], end["calls"]) == (">Well <tool_call>\n", 1)
    assert server.requests[0]["stop"] == ["<tool_call>"]
    assert server.requests[1]["json_schema"]["properties"]["name"] == {"const": "add"}


async def test_several_calls_follow_each_other() -> None:
    """Another call begins at once, or not at all: what else is said behind a call is not kept."""
    again = [said("\n"), stop("word", "<tool_call>")]
    call = [said(CALL), stop()]
    server = Scripted(again, call, again, call, [said("and so"), stop("limit")])
    text, _, end = await answer(server, tools=TOOLS)
    assert text == "\n" + f"<tool_call>\n{CALL}\n</tool_call>" * 2
    assert end["calls"] == 2


async def test_a_call_may_be_all_that_is_wanted() -> None:
    """Required, the answer begins with one; and one is enough where no more are wanted."""
    server = Scripted([said(CALL), stop()])
    text, _, _ = await answer(server, tools=TOOLS, choice="required", is_parallel=False)
    assert text == f"<tool_call>\n{CALL}\n</tool_call>"


async def test_a_call_that_is_cut_off_ends_the_answer() -> None:
    """At its limit it is half a call, and nothing is written behind it."""
    server = Scripted([said('{"na'), stop("limit", truncated=True)])
    text, _, end = await answer(server, tools=TOOLS, choice="add", max_tokens=16)
    assert (text, end["is_full"]) == ('<tool_call>\n{"na', True)


async def test_an_answer_that_was_begun_goes_on() -> None:
    """Its tokens come first, as if the model had just said them, and count."""
    server = Scripted([said("me"), stop()])
    assert (await answer(server, begun=tuple(map(ord, "Ro")), max_tokens=8))[:2] == ("Rome", "Rome")
    assert (prompts(server), server.requests[0]["n_predict"]) == ([">Ro"], 6)


async def test_closing_it_ends_the_call() -> None:
    """Nothing is left running at the server when nobody listens any more."""
    ended = anyio.Event()

    class Endless(Scripted):
        async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
            try:
                while True:
                    yield said("a")
            finally:
                ended.set()

    events = Generation(Endless(), Wanted(())).events()
    await anext(events)
    await events.aclose()
    assert ended.is_set()
