"""
Errors of adapters, grouped by what the caller does about them.

::

    AdapterError
    ├── ModelUnavailable       ask the user: no such file, no such package, it does not load
    ├── NothingToAnswer        mend the request: the log has nothing to answer
    ├── RequestRefused         mend the request: the provider will never take these bytes
    │   ├── ContextOverflow    the log is longer than the model can read
    │   ├── HandleLost         send everything: the provider has forgotten what it held
    │   └── HiddenRefused      leave hidden fields out, once: they don't belong there
    ├── NotAuthorized          ask the user: the key
    ├── QuotaExceeded          ask the user: the account has nothing left
    ├── ProviderUnavailable    try again: not reached, loading, overloaded
    ├── TooManyRounds          ask the user: the model goes on calling tools
    ├── StreamBroken           try again as a new answer: cut off in its middle
    └── RunFailed              ask the user: the run is over, and has no whole answer

``type`` is a word for programs, and stands in a failed run beside the message.
No text holds a key or a message's content.
"""

from __future__ import annotations

from typing import ClassVar


class AdapterError(Exception):
    """Base of every error that this package raises on purpose."""

    type: ClassVar[str] = "adapter_error"
    is_retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class ModelUnavailable(AdapterError):
    """The model can't be run here; the text says what to do."""

    type = "model_unavailable"


class NothingToAnswer(AdapterError):
    """The log holds nothing that a model could answer."""

    type = "nothing_to_answer"


class RequestRefused(AdapterError):
    """The provider understood the request and will not take it."""

    type = "request_refused"


class ContextOverflow(RequestRefused):
    """The request is longer than the model's context; both in tokens, where they are known."""

    type = "context_overflow"

    def __init__(self, message: str, *, prompt_tokens: int | None, context_tokens: int | None) -> None:
        super().__init__(message, status=400)
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class HandleLost(RequestRefused):
    """A name of server-held state is good for nothing any more; the log is, sent whole."""

    type = "handle_lost"


class HiddenRefused(RequestRefused):
    """
    Hidden fields were refused: left out, or put back, the request may be taken.

    ``reason`` is ``unverifiable`` (sealed elsewhere, or damaged), ``out_of_place`` (not
    behind what it was made from) or ``required`` (missing).
    """

    type = "hidden_refused"

    def __init__(self, message: str, *, status: int | None = None, reason: str = "unverifiable") -> None:
        super().__init__(message, status=status)
        self.reason = reason


class NotAuthorized(AdapterError):
    """The provider wants another key."""

    type = "not_authorized"


class QuotaExceeded(AdapterError):
    """The account can pay for no more; waiting does not help."""

    type = "quota_exceeded"


class ProviderUnavailable(AdapterError):
    """The provider was not reached, or can't answer now."""

    type = "provider_unavailable"
    is_retryable = True


class StreamBroken(AdapterError):
    """The answer was cut off before its end."""

    type = "stream_broken"
    is_retryable = True


class TooManyRounds(AdapterError):
    """A model has called tools so often that somebody should look; asked again, it goes on."""

    type = "too_many_rounds"


class RunFailed(AdapterError):
    """A run ended without a whole answer; the text says why. What had come stays in the conversation."""

    type = "run_failed"
