"""
Derived state: what is computed from conversations and may be thrown away.

Requests to providers, and the executor that runs a model.
"""

from adapters.errors import (
    AdapterError,
    ContextOverflow,
    ModelUnavailable,
    NotAuthorized,
    NothingToAnswer,
    ProviderUnavailable,
    RequestRefused,
    RunFailed,
    StreamBroken,
)
from adapters.exchange import Adapter, Note, Report, Request
from adapters.executor import Executor
from adapters.llamacpp import LlamaCpp, find_model

__all__ = [
    "Adapter",
    "AdapterError",
    "ContextOverflow",
    "Executor",
    "LlamaCpp",
    "ModelUnavailable",
    "NotAuthorized",
    "Note",
    "NothingToAnswer",
    "ProviderUnavailable",
    "Report",
    "Request",
    "RequestRefused",
    "RunFailed",
    "StreamBroken",
    "find_model",
]
