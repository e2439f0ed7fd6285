"""
A strict server of the Responses API. Built from facts 2 and 12.

It pairs reasoning with what was made from it by their ids, reads only what it has sealed itself, and
holds answers until ``forget``. The ciphertext in the whole response is another than at an item's end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.providers.serving import Answer, Cut, Provider, Refusal, pieces

CONTENT = {"input_text", "input_image", "input_file", "output_text", "refusal"}


class ResponsesServer(Provider):
    """One server of the Responses API."""

    paths = ("/responses",)

    def __init__(self, *script: Any) -> None:
        super().__init__(*script)
        self._held: dict[str, list[dict[str, Any]]] = {}
        self.background: dict[str, list[dict[str, Any]]] = {}
        """The events of answers that are made in the background."""
        self.fetched: list[tuple[str, int | None]] = []
        """Which of them were fetched, and behind which event."""
        self.cancelled: list[str] = []

    def app(self) -> Starlette:
        more = [
            Route("/responses/{response}", self._fetch, methods=["GET"]),
            Route("/responses/{response}/cancel", self._cancel, methods=["POST"]),
        ]
        return Starlette(routes=[*super().app().routes, *more])

    async def _fetch(self, request: Request) -> Response:
        named, after = request.path_params["response"], request.query_params.get("starting_after")
        self.fetched.append((named, int(after) if after is not None else None))
        if named not in self.background:
            error = refuse(f"Response with id '{named}' not found.", status=404)
            return JSONResponse(error.body, error.status)
        events = [e for e in self.background[named] if e["sequence_number"] > (int(after) if after else -1)]
        frames = b"".join(map(self.frame, events))
        return Response(frames, media_type="text/event-stream")

    async def _cancel(self, request: Request) -> Response:
        self.cancelled.append(request.path_params["response"])
        return JSONResponse({"id": self.cancelled[-1], "status": "cancelled"})

    async def _stream(self, body: dict[str, Any], said: Answer | Cut) -> AsyncIterator[bytes]:
        if body.get("background"):
            answer = said.answer if isinstance(said, Cut) else said
            # All of it is made, whoever hears how much of it.
            events = list(self.events(body, answer))
            self.background[events[0]["response"]["id"]] = events
        async for frame in super()._stream(body, said):
            yield frame

    def forget(self) -> None:
        """Lose every answer that is held."""
        self._held.clear()

    def check(self, body: dict[str, Any], headers: Mapping[str, str]) -> Refusal | None:
        if body.get("background") and body.get("store") is False:
            return refuse("Background mode requires store to be true.")
        before = body.get("previous_response_id")
        if before is not None and before not in self._held:
            return refuse(
                f"Previous response with id '{before}' not found.", code="previous_response_not_found"
            )
        items = [*self._held.get(str(before), ()), *body["input"]]
        problem = next(_problems(items), None)
        if problem is not None:
            return refuse(problem)
        if any(not str(item.get("encrypted_content") or "sealed").startswith("sealed") for item in items):
            return refuse(
                "The encrypted content gAAA could not be verified.", code="invalid_encrypted_content"
            )
        return None

    def events(self, body: dict[str, Any], answer: Answer) -> Iterator[Any]:
        number, sequence = self.count, iter(range(100_000))

        def event(kind: str, **values: Any) -> dict[str, Any]:
            return {"type": f"response.{kind}", "sequence_number": next(sequence), **values}

        response = {
            "id": f"resp_{number}",
            "object": "response",
            "status": "in_progress",
            "model": "gpt-5.6-2026",
        }
        yield event("created", response={**response, "output": []})
        items = list(_items(number, answer))
        for index, item in enumerate(items):
            yield from _streamed(event, index, item)
        self._held[f"resp_{number}"] = [
            *self._held.get(str(body.get("previous_response_id")), ()),
            *body["input"],
            *items,
        ]
        again = [{**i, "encrypted_content": "sealed again"} if i["type"] == "reasoning" else i for i in items]
        usage = {"input_tokens": 9, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 3}}
        cut = {"status": "incomplete", "incomplete_details": {"reason": answer.stop}} if answer.stop else {}
        whole = {**response, "status": "completed", "output": again, "usage": usage, **cut}
        yield event("incomplete" if answer.stop else "completed", response=whole)


def _items(number: int, answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.reasoning:
        summary = [{"type": "summary_text", "text": answer.reasoning}]
        yield {
            "type": "reasoning",
            "id": f"rs_{number}",
            "summary": summary,
            "encrypted_content": f"sealed {number}",
        }
    if answer.text:
        content = [{"type": "output_text", "text": answer.text, "annotations": []}]
        yield {
            "type": "message",
            "id": f"msg_{number}",
            "role": "assistant",
            "status": "completed",
            "content": content,
        }
    for at, (name, arguments) in enumerate(answer.calls):
        call = {"type": "function_call", "id": f"fc_{number}_{at}", "call_id": f"call_{number}_{at}"}
        yield {**call, "name": name, "arguments": arguments, "status": "completed"}


def _streamed(event: Any, index: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    place = {"output_index": index, "item_id": item["id"]}
    half = {**item, "content": [], "summary": [], "arguments": "", "encrypted_content": "half"}
    yield event("output_item.added", output_index=index, item={key: half[key] for key in item if key in half})
    match item["type"]:
        case "reasoning":
            for piece in pieces(item["summary"][0]["text"]):
                yield event("reasoning_summary_text.delta", summary_index=0, delta=piece, **place)
        case "message":
            for piece in pieces(item["content"][0]["text"]):
                yield event("output_text.delta", content_index=0, delta=piece, logprobs=[], **place)
        case _:
            for piece in pieces(item["arguments"]):
                yield event("function_call_arguments.delta", delta=piece, **place)
    yield event("output_item.done", output_index=index, item=item)


def _problems(items: list[dict[str, Any]]) -> Iterator[str]:
    for at, item in enumerate(items):
        if item.get("type") == "reasoning":
            yield from _reasoning_problems(at, item, items[at + 1] if at + 1 < len(items) else {})
        elif item.get("type", "message") == "message":
            parts = item["content"] if isinstance(item["content"], list) else [{"type": "input_text"}]
            if not parts or any(part.get("type") not in CONTENT for part in parts):
                yield f"Invalid value: 'input[{at}].content'."
    yield from _call_problems(items)


def _reasoning_problems(at: int, item: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    if "summary" not in item:
        yield f"Missing required parameter: 'input[{at}].summary'."
    # What was produced behind it has the same number.
    if item.get("id") and str(after.get("id", "")).split("_")[1:2] != item["id"].split("_")[1:2]:
        yield f"Item '{item['id']}' of type 'reasoning' was provided without its required following item."


def _call_problems(items: list[dict[str, Any]]) -> Iterator[str]:
    waiting: list[str] = []
    for item in items:
        if item.get("type") == "function_call":
            waiting.append(item["call_id"])
            if not isinstance(item["arguments"], str):
                yield "Invalid type for 'arguments'."
        elif item.get("type") == "function_call_output" and item["call_id"] in waiting:
            waiting.remove(item["call_id"])
        elif item.get("type") == "function_call_output":
            yield f"No tool call found for function call output with call_id {item['call_id']}."
    if waiting:
        yield f"No tool output found for function call {waiting[0]}."


def refuse(message: str, *, status: int = 400, code: str | None = None) -> Refusal:
    """Return an error as OpenAI shapes it."""
    error = {"message": message, "type": "invalid_request_error", "param": "input", "code": code}
    return Refusal(status, {"error": error})
