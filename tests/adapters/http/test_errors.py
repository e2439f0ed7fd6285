"""The tables that turn foreign errors, and what providers say, into ours."""

from __future__ import annotations

import json
from typing import Any

import httpx
import httpx_sse
import pytest

from adapters.errors import (
    AdapterError,
    ContextOverflow,
    HandleLost,
    HiddenRefused,
    NotAuthorized,
    ProviderUnavailable,
    QuotaExceeded,
    RequestRefused,
    StreamBroken,
)
from adapters.http import error_in, error_of, map_error

FOREIGN: dict[type[Exception], type[AdapterError]] = {
    httpx.CloseError: StreamBroken,
    httpx.ConnectError: ProviderUnavailable,
    httpx.ConnectTimeout: ProviderUnavailable,
    httpx.CookieConflict: RequestRefused,
    httpx.DecodingError: StreamBroken,
    httpx.HTTPError: StreamBroken,
    httpx.HTTPStatusError: StreamBroken,
    httpx.InvalidURL: RequestRefused,
    httpx.LocalProtocolError: RequestRefused,
    httpx.NetworkError: StreamBroken,
    httpx.PoolTimeout: ProviderUnavailable,
    httpx.ProtocolError: StreamBroken,
    httpx.ProxyError: ProviderUnavailable,
    httpx.ReadError: StreamBroken,
    httpx.ReadTimeout: StreamBroken,
    httpx.RemoteProtocolError: StreamBroken,
    httpx.RequestError: StreamBroken,
    httpx.RequestNotRead: StreamBroken,
    httpx.ResponseNotRead: StreamBroken,
    httpx.StreamClosed: StreamBroken,
    httpx.StreamConsumed: StreamBroken,
    httpx.StreamError: StreamBroken,
    httpx.TimeoutException: StreamBroken,
    httpx.TooManyRedirects: RequestRefused,
    httpx.TransportError: StreamBroken,
    httpx.UnsupportedProtocol: RequestRefused,
    httpx.WriteError: ProviderUnavailable,
    httpx.WriteTimeout: ProviderUnavailable,
    httpx_sse.SSEError: RequestRefused,
}
NOT_HTTP = {UnicodeEncodeError: RequestRefused, ValueError: RequestRefused}

SECRET = "my PIN is 4711\nand my cat is called Minka"


def test_no_foreign_exception_is_missing() -> None:
    """Whatever the HTTP libraries may raise, in the versions installed, has a row."""
    raised = {
        kind
        for library in (httpx, httpx_sse)
        for kind in vars(library).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert raised == set(FOREIGN)


@pytest.mark.parametrize(("kind", "expected"), (FOREIGN | NOT_HTTP).items())
def test_foreign_exceptions_are_mapped(kind: type[Exception], expected: type[AdapterError]) -> None:
    """Each becomes the error that says what the caller does about it."""
    ours = map_error(kind.__new__(kind))
    assert type(ours) is expected
    assert kind.__name__ in str(ours)


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "invalid_request_error", RequestRefused),
        (401, "authentication_error", NotAuthorized),
        (403, "permission_error", NotAuthorized),
        (404, "not_found_error", RequestRefused),
        (408, "", ProviderUnavailable),
        (409, "", ProviderUnavailable),
        (413, "", RequestRefused),
        (425, "", ProviderUnavailable),
        (429, "", ProviderUnavailable),
        (500, "server_error", ProviderUnavailable),
        (501, "not_supported_error", ProviderUnavailable),
        (503, "unavailable_error", ProviderUnavailable),
    ],
)
def test_answers_are_mapped(status: int, kind: str, expected: type[AdapterError]) -> None:
    """Each status of llama-server becomes the error that says what the caller does about it."""
    body = {"error": {"code": status, "message": "told so", "type": kind}}
    ours = error_of(status, json.dumps(body).encode())
    assert (type(ours), ours.status) == (expected, status)


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"null", b'{"error": []}', b"\xff"])
def test_any_body_will_do(content: bytes) -> None:
    """What stands between us and the server may answer too."""
    ours = error_of(502, content)
    assert isinstance(ours, ProviderUnavailable)
    assert "HTTP 502" in str(ours)


def test_too_long_says_how_long() -> None:
    """Both counts are there for programs, and in the text."""
    detail = {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 9031, "n_ctx": 4096}
    ours = error_of(400, json.dumps({"error": detail}).encode())
    assert isinstance(ours, ContextOverflow)
    assert (ours.prompt_tokens, ours.context_tokens) == (9031, 4096)
    assert "9031 tokens" in str(ours)


@pytest.mark.parametrize(("header", "expected"), [("7", 7.0), ("", None), ("soon", None), ("-1", None)])
def test_the_server_says_when_to_come_back(header: str, expected: float | None) -> None:
    """Retry-After in seconds is passed on; dates and nonsense are not."""
    assert error_of(503, b"", retry_after=header).retry_after_s == expected


# llama-server's words, recorded; %s is where it quoted the request.
QUOTING = [
    'Failed to parse messages: Missing \'role\' in message: {"content":"%s"}',
    'Failed to parse tools: Missing tool type: {"a":"%s"}; tools = [\n  {\n    "a": "%s"\n  }\n]',
    'response_format type must be one of "text" or "json_object", but got: %s',
    "parse error at line 1, column 53: invalid literal; last read: '\"%s'",
]


@pytest.mark.parametrize("form", [SECRET, json.dumps(SECRET)[1:-1], SECRET[:30]])
@pytest.mark.parametrize("message", QUOTING)
def test_no_error_quotes_a_message(message: str, form: str) -> None:
    """Whole, escaped or cut short: a message's content is in no text."""
    content = json.dumps({"error": {"message": message.replace("%s", form)}}).encode()
    sent = {"messages": [{"role": "user", "content": "hello"}, {"role": "user", "content": SECRET}]}
    assert "PIN" not in str(error_of(400, content, sent=sent))


def refusal(message: str, **sent: Any) -> str:
    """Return our text for a request that a server refused with this message."""
    return str(error_of(400, json.dumps({"error": {"message": message}}).encode(), sent=sent))


def test_short_messages_are_not_quoted_either() -> None:
    """A word is found as a word."""
    assert "yes" not in refusal('not allowed: {"content": "yes"}', content="yes")


def test_what_the_server_says_of_itself_is_passed_on() -> None:
    """A person sees the reason: neither roles nor letters that happen to be in a message hide it."""
    said = "Conversation roles must alternate user/assistant"
    assert refusal(said, messages=[{"role": "user", "content": "a"}]).endswith(said)


def test_a_long_reason_is_cut() -> None:
    """One line, and not without end."""
    assert len(refusal("x" * 9000)) < 300
    assert "\n" not in refusal("one\ntwo")


def openai(message: str = "", code: str = "") -> dict[str, Any]:
    """Return the body of an error as OpenAI and its kin shape it."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def anthropic(kind: str, message: str = "", **details: str) -> dict[str, Any]:
    """Return the body of an error as Anthropic shapes it."""
    return {"type": "error", "error": {"type": kind, "message": message, "details": details}}


BOUND = "messages.1.content.0: Invalid `signature`. The block is bound to a different conversation."
UNMATCHED = "messages.3.content.0: Invalid `signature` in `thinking` block"
MISSING = "The `reasoning_content` in the thinking mode must be passed back to the API."
CORRUPTED = [{"error": {"code": 400, "message": "Corrupted thought signature.", "status": "x"}}]
RESULTS = "An assistant message with 'tool_calls' must be followed by tool messages"
ORPHAN = "Item 'rs_1' of type 'reasoning' was provided without its required following item."

# Status, body, and what the caller is to do about it (facts, 11).
SAID: list[tuple[int, Any, type[AdapterError]]] = [
    (429, openai(code="insufficient_quota"), QuotaExceeded),
    (429, openai(code="rate_limit_exceeded"), ProviderUnavailable),
    (429, anthropic("rate_limit_error"), QuotaExceeded),
    (402, anthropic("billing_error"), QuotaExceeded),
    (529, anthropic("overloaded_error"), ProviderUnavailable),
    (400, openai(code="context_length_exceeded"), ContextOverflow),
    (413, anthropic("request_too_large"), ContextOverflow),
    (400, anthropic("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"), ContextOverflow),
    (400, openai(code="previous_response_not_found"), HandleLost),
    (404, openai("Previous response with id 'resp_1' not found."), HandleLost),
    (404, openai("Item with id 'rs_1' not found. Items are not persisted"), HandleLost),
    (404, anthropic("not_found_error", error_code="thread_not_found"), HandleLost),
    (400, openai(code="invalid_encrypted_content"), HiddenRefused),
    (400, openai(ORPHAN), HiddenRefused),
    (400, anthropic("invalid_request_error", BOUND), HiddenRefused),
    (400, anthropic("invalid_request_error", UNMATCHED), HiddenRefused),
    (400, openai(MISSING), HiddenRefused),
    (400, CORRUPTED, HiddenRefused),
    (400, openai(RESULTS), RequestRefused),
    (404, {"error": "model 'x' not found"}, RequestRefused),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "expected"), SAID)
def test_every_provider_is_understood(status: int, body: Any, expected: type[AdapterError]) -> None:
    """Each shape of error becomes the one that says what the caller does about it."""
    assert type(error_of(status, json.dumps(body).encode(), headers={"date": "now"})) is expected


@pytest.mark.parametrize(
    ("message", "reason"), [(BOUND, "out_of_place"), (UNMATCHED, "unverifiable"), (ORPHAN, "out_of_place")]
)
def test_a_refused_field_says_how(message: str, reason: str) -> None:
    """What was sealed elsewhere is told from what stands in the wrong place."""
    ours = error_of(400, json.dumps(openai(message)).encode())
    assert isinstance(ours, HiddenRefused)
    assert ours.reason == reason


@pytest.mark.parametrize(
    ("headers", "expected", "wait_s"),
    [
        ({"retry-after": "7"}, ProviderUnavailable, 7.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, ProviderUnavailable, 0.25),
        ({"x-should-retry": "false"}, RequestRefused, None),
    ],
)
def test_headers_give_advice(
    headers: dict[str, str], expected: type[AdapterError], wait_s: float | None
) -> None:
    """When to come back, in the finer of both headers; and whether to come back at all."""
    ours = error_of(503, json.dumps(openai()).encode(), headers=headers)
    assert (type(ours), ours.retry_after_s) == (expected, wait_s)


def test_google_says_when_to_come_back() -> None:
    """Its delay stands in the details."""
    details = [{"@type": "RetryInfo", "retryDelay": "12.5s"}]
    body = {"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": details}}
    assert error_of(429, json.dumps(body).encode()).retry_after_s == 12.5


def test_an_error_may_come_in_a_stream() -> None:
    """After a status of 200 the type of the error says what it is; other events are none."""
    ours = error_in(anthropic("overloaded_error", "Overloaded"))
    assert (type(ours), ours.status if ours else None) == (ProviderUnavailable, 529)
    assert error_in({"type": "ping"}) is None
