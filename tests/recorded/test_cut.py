"""Real streams, cut off in their middle: what had come is kept, and the conversation goes on."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from adapters import AdapterError
from adapters.writing import AnswerWriter
from crdt_conv import Store
from tests.recorded.files import Exchange, exchanges, files
from tests.recorded.mixed import MixedReader, api_of
from tests.recorded.replay import Replay
from tests.recorded.test_openai_responses import is_in_log

APIS = ("anthropic", "gemini", "openai-chat", "openai-responses")
FOLDERS = ("anthropic", "openai-responses", "openai-chat", "openai-compatible", "openrouter", "gemini")


def is_long(exchange: Exchange) -> bool:
    """Whether something of an answer can come without its end."""
    is_asked = api_of(exchange) != "openai-responses" or is_in_log(exchange)
    return exchange.status == 200 and len(exchange.events) > 3 and is_asked


@pytest.mark.parametrize("path", files(*FOLDERS))
def test_a_cut_answer_is_gone_on_from(path: Path) -> None:
    """Half an answer raises nothing but the error that says so, and the next request can be made."""
    for exchange in filter(is_long, exchanges(path, *APIS)):
        with Store(":memory:") as store:
            replay = Replay(store.create(), MixedReader())
            head, request, _ = replay.materialize(exchange)
            begin = partial(replay.conversation.stream, branch="cut", parents=[head])
            writer = AnswerWriter(replay.conversation, begin)
            ingest = MixedReader().adapter(exchange).ingest(request)
            status = "complete"
            try:
                for event in exchange.events[: 2 * len(exchange.events) // 3]:
                    writer.take(ingest.feed(event))
                writer.take(ingest.end())
            except AdapterError:
                status = "interrupted"
            writer.begin()
            answer = writer.finish(status)
            assert answer is not None
            after, report = replay.ask(
                exchange, replay.conversation.append("user", "Go on.", branch="cut").id
            )
            assert after.content
            said = any(part.text.strip() for part in answer.parts if part.type == "text")
            assert not said or report.sent >= 2
