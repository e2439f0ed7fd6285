"""The tables that turn foreign errors into ours."""

from __future__ import annotations

import json
from typing import Any

import httpx
import httpx_sse
import pytest

from adapters.errors import (
    AdapterError,
    ContextOverflow,
    NotAuthorized,
    ProviderUnavailable,
    RequestRefused,
    StreamBroken,
)
from adapters.llamacpp.client import error_of, map_error

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


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"null", b'{"error": "text"}', b"\xff"])
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
