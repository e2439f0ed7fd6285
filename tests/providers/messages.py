"""
A strict server of the Messages API. Built from facts 3.2 to 3.7 and 12.

It signs reasoning over what the real one signs: the model, tools, system and all messages before, without
cache markers, and the reasoning itself. Models whose name holds ``bound`` refuse it elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from adapters.prefix import without_markers
from tests.providers.serving import Answer, Provider, Refusal, pieces

SECRET = b"of this server"
ASSISTANT = {"text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "web_search_tool_result"}
USER = {"text", "image", "document", "tool_result"}
RESULTS = (
    "`tool_use` ids were found without `tool_result` blocks immediately after. "
    "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
)


class MessagesServer(Provider):
    """One server of the Messages API."""

    paths = ("/v1/messages",)
    bound = "claude-opus-5-5"
    paused: int | None = None
    """How many messages stood before an answer that it paused: that one may be sent back as the last."""

    def check(self, body: dict[str, Any], headers: Mapping[str, str]) -> Refusal | None:
        if "x-api-key" not in headers or "anthropic-version" not in headers:
            return refuse("authentication_error", "x-api-key header is required", status=401)
        problem = next(self._problems(body), None)
        return refuse("invalid_request_error", problem) if problem else None

    def _problems(self, body: dict[str, Any]) -> Iterator[str]:
        if not isinstance(body.get("max_tokens"), int):
            yield "max_tokens: Field required"
        if json.dumps(body).count('"cache_control"') > 4:
            yield "A maximum of 4 blocks with cache_control may be provided. Found 5."
        messages = body["messages"]
        if not messages or messages[0]["role"] != "user":
            yield 'messages: first message must use the "user" role'
            return
        yield from _role_problems(messages)
        for at, message in enumerate(messages):
            yield from _content_problems(at, message)
        whole = joined(messages)
        if whole[-1]["role"] == "assistant" and self.paused != len(whole) - 1:
            yield "This model does not support assistant message prefill."
        yield from _tool_problems(whole)
        yield from self._thinking_problems(body, whole)

    def _thinking_problems(self, body: dict[str, Any], messages: list[dict[str, Any]]) -> Iterator[str]:
        for at, message in enumerate(messages):
            for place, block in enumerate(message["content"]):
                where = f"messages.{at}.content.{place}"
                if block["type"] == "redacted_thinking" and not block["data"].startswith("sealed"):
                    yield f"{where}: Invalid `data` in `redacted_thinking` block"
                if block["type"] != "thinking":
                    continue
                signed = block.get("signature", "")
                if not signed.startswith(seal(block["thinking"])):
                    yield f"{where}: Invalid `signature` in `thinking` block"
                elif body["model"] == self.bound and signed not in _seals(body, messages, at, place):
                    yield (
                        f"{where}: Invalid `signature` in `thinking` block. "
                        "The block is bound to a different conversation."
                    )
        yield from _manual_problems(body, messages)

    def events(self, body: dict[str, Any], answer: Answer) -> Iterator[Any]:
        usage = {"input_tokens": 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2}
        message = {"id": f"msg_{self.count}", "type": "message", "role": "assistant", "content": []}
        yield {
            "type": "message_start",
            "message": {**message, "model": body["model"], "stop_reason": None, "usage": usage},
        }
        yield {"type": "ping"}
        for index, (shell, deltas) in enumerate(self._blocks(body, answer)):
            yield {"type": "content_block_start", "index": index, "content_block": shell}
            for delta in deltas:
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        stop = answer.stop or ("tool_use" if answer.calls else "end_turn")
        self.paused = len(joined(body["messages"])) if stop == "pause_turn" else None
        delta = {"stop_reason": stop, "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9}}
        yield {"type": "message_stop"}

    def _blocks(self, body: dict[str, Any], answer: Answer) -> Iterator[tuple[Any, list[Any]]]:
        if answer.reasoning:
            signature = seal(answer.reasoning, bound_to(body, joined(body["messages"])))
            yield (
                {"type": "thinking", "thinking": "", "signature": ""},
                [
                    *({"type": "thinking_delta", "thinking": piece} for piece in pieces(answer.reasoning)),
                    {"type": "signature_delta", "signature": signature},
                ],
            )
        if answer.text:
            yield (
                {"type": "text", "text": ""},
                [{"type": "text_delta", "text": piece} for piece in pieces(answer.text)],
            )
        for place, (name, arguments) in enumerate(answer.calls):
            yield (
                {"type": "tool_use", "id": f"toolu_{self.count}_{place}", "name": name, "input": {}},
                [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(arguments)],
            )


def seal(thinking: str, prefix: str = "") -> str:
    """Return a signature: of the reasoning, and of what it is bound to."""
    own = hmac.new(SECRET, thinking.encode(), hashlib.sha256).hexdigest()
    return own + (hmac.new(SECRET, (own + prefix).encode(), hashlib.sha256).hexdigest() if prefix else "")


def bound_to(body: Mapping[str, Any], messages: list[dict[str, Any]]) -> str:
    """Return what reasoning is bound to."""
    bound = [body["model"], body.get("tools"), body.get("system"), messages]
    return json.dumps(without_markers(bound), sort_keys=True)


def _seals(body: Mapping[str, Any], messages: list[dict[str, Any]], at: int, place: int) -> set[str]:
    """Return the signatures that hold for a block: an answer may go on with one before it."""
    content = messages[at]["content"]
    before = [messages[:at]] + [
        [*messages[:at], {"role": "assistant", "content": content[:cut]}] for cut in range(1, place + 1)
    ]
    return {seal(content[place]["thinking"], bound_to(body, prefix)) for prefix in before}


def joined(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages with those of one role as one, their content as blocks: so the API reads them."""
    whole: list[dict[str, Any]] = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        if whole and whole[-1]["role"] == message["role"]:
            whole[-1]["content"] += blocks
        else:
            whole.append({"role": message["role"], "content": blocks})
    return whole


def _role_problems(messages: list[dict[str, Any]]) -> Iterator[str]:
    for at, message in enumerate(messages):
        if message["role"] == "system":
            after = messages[at + 1]["role"] if at + 1 < len(messages) else "assistant"
            if messages[at - 1]["role"] != "user" or after != "assistant":
                yield f"messages.{at}: role 'system' must follow a user turn and precede an assistant turn"
        elif message["role"] not in ("user", "assistant"):
            yield f"messages.{at}.role: Input should be 'user' or 'assistant'"


def _content_problems(at: int, message: dict[str, Any]) -> Iterator[str]:
    content = message["content"]
    if not content:
        yield "all messages must have non-empty content except for the optional final assistant message"
        return
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    if "" in texts:
        yield "messages: text content blocks must be non-empty"
    if texts and not any(text.strip() for text in texts):
        yield "messages: text content blocks must contain non-whitespace text"
    allowed = ASSISTANT if message["role"] == "assistant" else USER
    for block in blocks:
        if block["type"] not in allowed:
            yield f"messages.{at}.content: Input tag '{block['type']}' found using 'type' does not match"
        if block["type"] == "tool_use" and not re.fullmatch("[a-zA-Z0-9_-]{1,64}", block["id"]):
            yield f"messages.{at}.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
        if block["type"] == "tool_use" and not isinstance(block["input"], dict):
            yield f"messages.{at}.content.0.tool_use.input: Input should be a valid dictionary"


def _tool_problems(messages: list[dict[str, Any]]) -> Iterator[str]:
    for at, message in enumerate(messages):
        uses = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
        # A recording has one id in two messages, and was taken.
        if len(set(uses)) < len(uses):
            yield "messages: `tool_use` ids must be unique"
        after = messages[at + 1]["content"] if at + 1 < len(messages) else []
        kinds = [block["type"] for block in after]
        results = [block["tool_use_id"] for block in after if block["type"] == "tool_result"]
        if message["role"] == "assistant" and set(uses) - set(results):
            yield f"messages.{at}: {RESULTS}"
        if message["role"] == "assistant" and set(results) - set(uses):
            yield f"messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks"
        if uses and kinds[: len(uses)] != ["tool_result"] * len(uses):
            yield f"messages.{at}: `tool_result` blocks must come first"


def _manual_problems(body: dict[str, Any], messages: list[dict[str, Any]]) -> Iterator[str]:
    is_manual = body.get("thinking", {}).get("type") == "enabled"
    is_open = any(block["type"] == "tool_result" for block in messages[-1]["content"])
    if is_manual and is_open and len(messages) > 1:
        first = messages[-2]["content"][0]["type"]
        if first not in ("thinking", "redacted_thinking"):
            yield f"Expected `thinking` or `redacted_thinking`, but found `{first}`."


def refuse(kind: str, message: str, *, status: int = 400, **headers: str) -> Refusal:
    """Return an error as Anthropic shapes it."""
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    return Refusal(status, body, headers)
