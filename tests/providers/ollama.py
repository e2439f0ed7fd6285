"""A strict server of Ollama's ``/api/chat``. Built from facts 7."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.providers.serving import Answer, Provider, Refusal, pieces

ROLES = {"system", "user", "assistant", "tool"}
KEYS = {"role", "content", "thinking", "images", "tool_calls", "tool_name"}


class OllamaServer(Provider):
    """One server of ``/api/chat``."""

    paths = ("/api/chat",)
    framing = "ndjson"

    def check(self, body: dict[str, Any], headers: Mapping[str, str]) -> Refusal | None:
        problem = next(_problems(body), None)
        return Refusal(400, {"error": problem}) if problem else None

    def events(self, body: dict[str, Any], answer: Answer) -> Iterator[Any]:
        for text in pieces(answer.reasoning):
            yield _line(body, thinking=text)
        for text in pieces(answer.text if not answer.calls else ""):
            yield _line(body, content=text)
        for name, arguments in answer.calls:
            yield _line(body, tool_calls=[{"function": {"name": name, "arguments": json.loads(arguments)}}])
        end = {"done": True, "done_reason": answer.stop or "stop", "prompt_eval_count": 7, "eval_count": 3}
        yield {**_line(body), **end, "total_duration": 5}


def _line(body: dict[str, Any], **said: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "", **said}
    return {"model": body["model"], "message": message, "done": False}


def _problems(body: dict[str, Any]) -> Iterator[str]:
    if not body.get("model"):
        yield "model is required"
    waiting: list[str] = []
    for message in body["messages"]:
        if message["role"] not in ROLES or message.keys() - KEYS or not isinstance(message["content"], str):
            yield "invalid message"
        if message["role"] == "tool":
            if not waiting or message.get("tool_name") != waiting.pop(0):
                yield "a result that no call waits for"
        elif waiting:
            yield "a call without its result"
        waiting = waiting or [call["function"]["name"] for call in message.get("tool_calls", ())]
        if any(not isinstance(call["function"]["arguments"], dict) for call in message.get("tool_calls", ())):
            yield "arguments are an object"
