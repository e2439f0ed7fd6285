"""
Derived state: what is computed from conversations and may be thrown away.

Requests to providers, and the executor that runs a model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from adapters.anthropic import Anthropic
    from adapters.errors import (
        AdapterError,
        ContextOverflow,
        HandleLost,
        HiddenRefused,
        ModelUnavailable,
        NotAuthorized,
        NothingToAnswer,
        ProviderUnavailable,
        QuotaExceeded,
        RequestRefused,
        RunFailed,
        StreamBroken,
        TooManyRounds,
    )
    from adapters.exchange import Adapter, Note, Report, Request
    from adapters.executor import Executor
    from adapters.gemini import Gemini
    from adapters.llamacpp import LlamaCpp, find_model
    from adapters.ollama import Ollama
    from adapters.openai_chat import OpenAIChat
    from adapters.openai_responses import OpenAIResponses
    from adapters.tools import FunctionTool

_HOMES: Final = {
    "Adapter": "adapters.exchange",
    "AdapterError": "adapters.errors",
    "Anthropic": "adapters.anthropic",
    "ContextOverflow": "adapters.errors",
    "Executor": "adapters.executor",
    "FunctionTool": "adapters.tools",
    "Gemini": "adapters.gemini",
    "HandleLost": "adapters.errors",
    "HiddenRefused": "adapters.errors",
    "LlamaCpp": "adapters.llamacpp",
    "ModelUnavailable": "adapters.errors",
    "NotAuthorized": "adapters.errors",
    "Note": "adapters.exchange",
    "NothingToAnswer": "adapters.errors",
    "Ollama": "adapters.ollama",
    "OpenAIChat": "adapters.openai_chat",
    "OpenAIResponses": "adapters.openai_responses",
    "ProviderUnavailable": "adapters.errors",
    "QuotaExceeded": "adapters.errors",
    "Report": "adapters.exchange",
    "Request": "adapters.exchange",
    "RequestRefused": "adapters.errors",
    "RunFailed": "adapters.errors",
    "StreamBroken": "adapters.errors",
    "TooManyRounds": "adapters.errors",
    "find_model": "adapters.llamacpp",
}
"""Where each name is: imported when it is asked for, since nobody needs every provider."""

__all__ = [
    "Adapter",
    "AdapterError",
    "Anthropic",
    "ContextOverflow",
    "Executor",
    "FunctionTool",
    "Gemini",
    "HandleLost",
    "HiddenRefused",
    "LlamaCpp",
    "ModelUnavailable",
    "NotAuthorized",
    "Note",
    "NothingToAnswer",
    "Ollama",
    "OpenAIChat",
    "OpenAIResponses",
    "ProviderUnavailable",
    "QuotaExceeded",
    "Report",
    "Request",
    "RequestRefused",
    "RunFailed",
    "StreamBroken",
    "TooManyRounds",
    "find_model",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
