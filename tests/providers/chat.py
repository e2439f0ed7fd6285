"""
A strict server of Chat Completions, in the dialects that differ. Built from facts 1, 5, 6 and 12.

``openai`` refuses keys that it does not know and long ids; ``deepseek`` tool turns without
``reasoning_content``; ``mistral`` ids that are no nine letters and digits; ``openrouter`` reasoning that
another upstream has sealed, or that was changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.providers.serving import DONE, Answer, Cut, Provider, Refusal, pieces

KEYS = {
    "system": {"role", "content"},
    "developer": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls", "refusal"},
    "tool": {"role", "content", "tool_call_id"},
}
EXTRA = {
    "deepseek": {"reasoning_content"},
    "vllm": {"reasoning_content"},
    "openrouter": {"reasoning", "reasoning_details"},
}
ORPHAN = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'"
PARTS = {
    "text": {"type", "text"},
    "image_url": {"type", "image_url"},
    "input_audio": {"type", "input_audio"},
    "file": {"type", "file"},
    "thinking": {"type", "thinking"},
}


class ChatServer(Provider):
    """One server of Chat Completions."""

    paths = ("/chat/completions", "/v1/chat/completions")

    def __init__(self, *script: Answer | Refusal | Cut, dialect: str = "openai", upstream: str = "A") -> None:
        super().__init__(*script)
        self.dialect = dialect
        self.upstream = upstream
        self.says_done = True

    def check(self, body: dict[str, Any], headers: Mapping[str, str]) -> Refusal | None:
        if not headers.get("authorization", "").startswith("Bearer "):
            return refuse("You didn't provide an API key.", status=401, code="invalid_api_key")
        problem = next(self._problems(body), None)
        return refuse(problem) if problem else None

    def _problems(self, body: dict[str, Any]) -> Iterator[str]:
        messages = body.get("messages")
        if not isinstance(body.get("model"), str) or not isinstance(messages, list) or not messages:
            yield "you must provide a model and messages"
            return
        for at, message in enumerate(messages):
            yield from self._message_problems(at, message)
        yield from self._tool_problems(messages)
        for tool in body.get("tools", ()):
            name = tool["function"]["name"] if tool.get("type") == "function" else ""
            if not re.fullmatch("[a-zA-Z0-9_-]{1,64}", name):
                yield f"Invalid 'tools.function.name': {name}"

    def _message_problems(self, at: int, message: dict[str, Any]) -> Iterator[str]:
        role = message.get("role")
        if role not in KEYS:
            yield f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'tool'"
            return
        extra = message.keys() - KEYS[role] - EXTRA.get(self.dialect, set())
        if extra:
            yield f"Additional properties are not allowed ({sorted(extra)} were unexpected) - 'messages.{at}'"
        yield from _content_problems(at, message)
        is_call = bool(message.get("tool_calls"))
        if self.dialect == "deepseek" and is_call and "reasoning_content" not in message:
            yield "The `reasoning_content` in the thinking mode must be passed back to the API."
        for detail in message.get("reasoning_details", ()):
            if detail.get("signature") != self.seal(detail.get("text", "")):
                yield "Provider returned error: Invalid `signature` in `thinking` block"

    def _tool_problems(self, messages: list[dict[str, Any]]) -> Iterator[str]:
        waiting: list[str] = []
        for message in messages:
            if message["role"] == "tool":
                if message.get("tool_call_id") not in waiting:
                    yield ORPHAN
                    return
                waiting.remove(message["tool_call_id"])
                continue
            if waiting:
                break
            waiting = [call["id"] for call in message.get("tool_calls") or ()]
            for call in message.get("tool_calls") or ():
                yield from self._call_problems(call)
            if len(set(waiting)) < len(waiting):
                yield "Duplicate value for 'tool_call_id'"
        if waiting:
            yield (
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following tool_call_ids did not have response messages: {waiting}"
            )

    def _call_problems(self, call: dict[str, Any]) -> Iterator[str]:
        pattern = {"openai": ".{1,40}", "mistral": "[a-zA-Z0-9]{9}"}.get(self.dialect, ".+")
        if not re.fullmatch(pattern, call["id"]):
            yield f"Invalid 'tool_calls[0].id': {call['id']}"
        if not re.fullmatch("[a-zA-Z0-9_-]{1,64}", call["function"]["name"]):
            yield f"Invalid 'function.name': {call['function']['name']}"
        if not isinstance(call["function"]["arguments"], str) or call.get("type") != "function":
            yield "Invalid type for 'arguments': expected a string"

    def seal(self, text: str) -> str:
        """Return the upstream's signature of some reasoning."""
        return hashlib.sha256(f"{self.upstream} {text}".encode()).hexdigest()

    def events(self, body: dict[str, Any], answer: Answer) -> Iterator[Any]:
        yield self._chunk(body, {"role": "assistant", "content": None if answer.calls else ""})
        for piece in pieces(answer.reasoning):
            yield self._chunk(body, self._reasoning(piece))
        if answer.reasoning and self.dialect == "openrouter":
            entry = {"type": "reasoning.text", "signature": self.seal(answer.reasoning), "index": 0}
            yield self._chunk(body, {"reasoning_details": [entry]})
        for piece in pieces(answer.text):
            yield self._chunk(body, {"content": piece})
        for index, (name, _) in enumerate(answer.calls):
            head = {"name": name, "arguments": ""}
            call_id = self._call_id(index)
            yield self._chunk(
                body,
                {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": head}]},
            )
        # Fragments of parallel calls by turns, as some servers send them.
        streams = [pieces(arguments) for _, arguments in answer.calls]
        for step in range(max(map(len, streams), default=0)):
            for index, stream in enumerate(streams):
                if step < len(stream):
                    delta = {"index": index, "function": {"arguments": stream[step]}}
                    yield self._chunk(body, {"tool_calls": [delta]})
        yield self._chunk(body, {}, finish=answer.stop or ("tool_calls" if answer.calls else "stop"))
        if body.get("stream_options", {}).get("include_usage"):
            yield {**self._chunk(body, {}), "choices": [], "usage": self._usage(body, answer)}
        if self.says_done:
            yield DONE

    def _call_id(self, index: int) -> str:
        if self.dialect == "mistral":
            return f"call{self.count:03}{index:02}"
        return f"call_{self.count}_{index}"

    def _reasoning(self, piece: str) -> dict[str, Any]:
        if self.dialect == "openrouter":
            entry = {"type": "reasoning.text", "text": piece, "index": 0, "format": "anthropic-claude-v1"}
            return {"reasoning": piece, "reasoning_details": [entry]}
        if self.dialect == "mistral":
            return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]}
        return {"reasoning_content": piece}

    def _chunk(
        self, body: dict[str, Any], delta: dict[str, Any], finish: str | None = None
    ) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        upstream = {"provider": self.upstream} if self.dialect == "openrouter" else {}
        return {
            "id": f"chatcmpl-{self.count}",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": f"{body['model']}-2026",
            **upstream,
            "choices": [choice],
        }

    @staticmethod
    def _usage(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
        prompt = len(json.dumps(body["messages"])) // 4
        return {
            "prompt_tokens": prompt,
            "completion_tokens": 7,
            "total_tokens": prompt + 7,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 2 if answer.reasoning else 0},
        }


def _content_problems(at: int, message: dict[str, Any]) -> Iterator[str]:
    content = message.get("content")
    may_lack = message["role"] == "assistant" and (message.get("tool_calls") or message.get("refusal"))
    if content is None and not may_lack:
        yield f"Invalid value for 'content': expected a string, got null. - 'messages.[{at}].content'"
    if content == []:
        yield f"Invalid 'messages[{at}].content': empty array"
    for part in content if isinstance(content, list) else ():
        kind = part.get("type", "")
        if part.keys() - PARTS.get(kind, set()) or not part.get(kind):
            yield f"Invalid 'messages[{at}]'. Content blocks are expected to be known: {part}"


def refuse(message: str, *, status: int = 400, code: str | None = None, **headers: str) -> Refusal:
    """Return an error as OpenAI shapes it."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return Refusal(status, {"error": error}, headers)
