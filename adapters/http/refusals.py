"""
What a provider's refusal means, whoever it is: status, code and words to an error with advice.

Source: facts, 11. Codes count before words; words are matched only where providers
have no code for it. A text quotes the server, except where that quotes the request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.errors import (
    AdapterError,
    ContextOverflow,
    HandleLost,
    HiddenRefused,
    NotAuthorized,
    ProviderUnavailable,
    QuotaExceeded,
    RequestRefused,
)
from adapters.http.quoting import quotable

_TRANSIENT: Final = frozenset({408, 409, 425, 429})

# An error that comes in a stream, after the status 200, names itself by its type alone.
_STATUS_OF_TYPE: Final = {
    "api_error": 500,
    "authentication_error": 401,
    "billing_error": 402,
    "conflict_error": 409,
    "invalid_request_error": 400,
    "not_found_error": 404,
    "overloaded_error": 529,
    "permission_error": 403,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "request_too_large": 413,
    "server_error": 500,
    "timeout_error": 504,
    "unavailable_error": 503,
    "INTERNAL": 500,
    "INVALID_ARGUMENT": 400,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
}

_QUOTA: Final = frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached"})
_TOO_LONG: Final = frozenset({"context_length_exceeded", "exceed_context_size_error", "request_too_large"})
_HANDLE: Final = frozenset({"previous_response_not_found", "container_expired", "container_not_found"})
_UNVERIFIABLE: Final = frozenset({"invalid_encrypted_content"})

# Words, where a provider has no code for it. The first row that fits.
_WORDS: Final[Sequence[tuple[str, str]]] = (
    (r"bound to a different conversation", "out_of_place"),
    (r"without its required", "out_of_place"),
    (r"blocks? in the latest assistant message cannot be modified", "out_of_place"),
    (r"missing a `?thought_signature", "required"),
    (r"must be passed back to the API", "required"),
    (r"Missing `reasoning_content`", "required"),
    (r"Expected `thinking`", "required"),
    (r"Invalid `signature`", "unverifiable"),
    (r"Invalid `data` in `redacted_thinking`", "unverifiable"),
    (r"encrypted content .*could not be", "unverifiable"),
    (r"(Corrupted|Invalid) thought signature|Thought signature is not valid", "unverifiable"),
    (r"Previous response (with id|cannot be used)", "handle"),
    (r"Item with id .* not found", "handle"),
    (r"prompt is too long|maximum context length|exceeds the maximum number of tokens", "too_long"),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a provider said, in the words of all providers; ``codes`` are all that it used as such."""

    status: int
    message: str
    codes: frozenset[str]
    detail: Mapping[str, Any]
    retry_after_s: float | None = None
    should_retry: bool | None = None
    is_anthropic: bool = False


def error_of(
    status: int,
    content: bytes,
    *,
    sent: Mapping[str, Any] | None = None,
    retry_after: str = "",
    headers: Mapping[str, str] | None = None,
) -> AdapterError:
    """
    Return the error that a server's answer means.

    Args:
        status: The HTTP status.
        content: The body, of any provider or of whatever stands between.
        sent: The request, nothing of which may stand in the error's text.
        retry_after: The header of that name, in seconds, where there are no ``headers``.
        headers: The answer's headers.
    """
    return _error(_refusal(status, content, headers or {"retry-after": retry_after}), sent or {})


def error_in(event: Mapping[str, Any], sent: Mapping[str, Any] | None = None) -> AdapterError | None:
    """Return the error that an event of a stream means, after a status of 200; nothing if it is none."""
    # vLLM says it without a key of that name.
    if not event.get("error") and event.get("object") != "error":
        return None
    return _error(_refusal(500, json.dumps(event).encode(), {}), sent or {})


def _error(refusal: Refusal, sent: Mapping[str, Any]) -> AdapterError:
    said = quotable(refusal.message, sent) or f"HTTP {refusal.status}"
    refused = f"the model's server refused the request: {said}"
    kind = _kind(refusal)
    if kind == "too_long":
        return _overflow(refusal)
    if kind == "handle":
        return HandleLost(refused, status=refusal.status)
    if kind in ("out_of_place", "required", "unverifiable"):
        return HiddenRefused(refused, status=refusal.status, reason=kind)
    if kind == "quota":
        return QuotaExceeded(f"the account has no quota left: {said}", status=refusal.status)
    if refusal.status in (401, 403):
        return NotAuthorized("the model's server wants another key", status=refusal.status)
    if _is_transient(refusal):
        text = f"the model's server can't answer now: {said}"
        return ProviderUnavailable(text, status=refusal.status, retry_after_s=refusal.retry_after_s)
    return RequestRefused(refused, status=refusal.status)


def _kind(refusal: Refusal) -> str:
    for codes, kind in (
        (_TOO_LONG, "too_long"),
        (_HANDLE, "handle"),
        (_UNVERIFIABLE, "unverifiable"),
        (_QUOTA, "quota"),
    ):
        if refusal.codes & codes:
            return kind
    if any(code.startswith("thread_") for code in refusal.codes):
        return "handle"
    # A limit of spending has no end that one could wait for (facts, 3.3).
    is_capped = refusal.is_anthropic and refusal.status == 429 and refusal.retry_after_s is None
    if refusal.status == 402 or (is_capped and refusal.should_retry is not True):
        return "quota"
    if refusal.status in (400, 404, 422):
        return next((kind for words, kind in _WORDS if re.search(words, refusal.message)), "")
    return ""


def _is_transient(refusal: Refusal) -> bool:
    if refusal.should_retry is not None:
        return refusal.should_retry
    return refusal.status in _TRANSIENT or refusal.status >= 500


def _overflow(refusal: Refusal) -> ContextOverflow:
    prompt, context = refusal.detail.get("n_prompt_tokens"), refusal.detail.get("n_ctx")
    counts = (
        f"the conversation has {prompt} tokens and the model reads {context}"
        if isinstance(prompt, int) and isinstance(context, int)
        else "the conversation is longer than the model can read"
    )
    return ContextOverflow(
        f"{counts}: fork at an earlier message, or start the model with a larger context",
        prompt_tokens=prompt if isinstance(prompt, int) else None,
        context_tokens=context if isinstance(context, int) else None,
    )


def _refusal(status: int, content: bytes, headers: Mapping[str, str]) -> Refusal:
    answer = _first_object(content)
    detail = answer.get("error", answer)
    detail = {"message": detail} if isinstance(detail, str) else detail if isinstance(detail, dict) else {}
    inner = detail.get("details")
    codes = {detail.get("code"), detail.get("type"), detail.get("status")}
    if isinstance(inner, dict):
        codes.add(inner.get("error_code"))
    words = frozenset(code for code in codes if isinstance(code, str))
    # Where it comes in a stream the status stands beside the code, if at all.
    numbers = (detail.get(key) for key in ("code", "status", "status_code"))
    code = next((number for number in numbers if isinstance(number, int) and number >= 400), None)
    should_retry = {"true": True, "false": False}.get(headers.get("x-should-retry", ""))
    return Refusal(
        code if code is not None else _status(status, words, is_streamed=not headers),
        _message(detail),
        words,
        detail,
        _retry_after_s(headers, inner),
        should_retry,
        answer.get("type") == "error",
    )


def _status(status: int, codes: frozenset[str], *, is_streamed: bool) -> int:
    if not is_streamed:
        return status
    return next((_STATUS_OF_TYPE[code] for code in sorted(codes) if code in _STATUS_OF_TYPE), status)


def _message(detail: Mapping[str, Any]) -> str:
    metadata = detail.get("metadata")
    message = detail.get("message")
    # OpenRouter says what the upstream said beside its own words, which say nothing.
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return f"{message}: {raw}" if isinstance(raw, str) else str(message or "")


def _retry_after_s(headers: Mapping[str, str], details: object) -> float | None:
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        if re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII):
            return float(value) * unit_s
    for entry in details if isinstance(details, list) else ():
        delay = entry.get("retryDelay") if isinstance(entry, dict) else None
        if isinstance(delay, str) and re.fullmatch(r"\d+(\.\d+)?s", delay, re.ASCII):
            return float(delay[:-1])
    return None


def _first_object(content: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    # Google streams a list.
    answer = answer[0] if isinstance(answer, list) and answer else answer
    return answer if isinstance(answer, dict) else {}
