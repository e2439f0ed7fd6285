"""
Derived state: what is computed from conversations and may be thrown away.

Requests to providers, and the executor that runs a model.
"""

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
