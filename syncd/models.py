"""
The adapters by name, for the programs: what a run may ask for, and what a daemon answers with.

A daemon has the local model, and every provider whose key stands in its environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapters import Adapter, AdapterError, Anthropic, Gemini, LlamaCpp, Ollama, OpenAIChat, OpenAIResponses
from adapters.explaining import explain
from crdt_conv import Conversation, InvalidMessage, Target
from syncd.answering import CantAnswer
from syncd.tools import Toolset

LOCAL: Final = "llamacpp"


@dataclass(frozen=True, slots=True)
class LocalModel:
    """
    How a local model is run: see ``LlamaCpp``.

    ``checkpoint_mb`` are 2**20 bytes each. ``max_tokens`` bounds answers of runs that do not say how long
    one may be, since a small model may never stop by itself; 0 lets it go on as long as there is room.
    """

    context_tokens: int = 8192
    overflow: str = "error"
    checkpoints: Path | None = None
    checkpoint_mb: int = 4096
    max_tokens: int = 2048

    def adapter(self, file: Path | None = None, url: str | None = None) -> Adapter:
        """
        Return the adapter.

        Args:
            file: A GGUF file; the one that is installed, where it is left out.
            url: A llama-server that runs already.

        Raises:
            ModelUnavailable: There is no such file.
        """
        return LlamaCpp(
            file,
            url=url,
            context_tokens=self.context_tokens,
            overflow=self.overflow,
            max_tokens=self.max_tokens or None,
            checkpoints=self.checkpoints,
            checkpoint_bytes=self.checkpoint_mb * 2**20,
        )


def _remote(make: Callable[..., Adapter]) -> Callable[[str | None, str | None], Adapter]:
    def made(model: str | None, endpoint: str | None) -> Adapter:
        return make(model or "", **({"base_url": endpoint} if endpoint is not None else {}))

    return made


REMOTE: Final[Mapping[str, Callable[[str | None, str | None], Adapter]]] = {
    "anthropic": _remote(Anthropic),
    "gemini": _remote(Gemini),
    "ollama": _remote(Ollama),
    "openai-chat": _remote(OpenAIChat),
    "openai-responses": _remote(OpenAIResponses),
}
"""From a model and an endpoint, either may be left open, to an adapter for a provider over HTTP."""

NAMES: Final = (LOCAL, *REMOTE)
KEYS: Final[Mapping[str, Sequence[str]]] = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "ollama": ("OLLAMA_HOST",),
    "openai-chat": ("OPENAI_API_KEY",),
    "openai-responses": ("OPENAI_API_KEY",),
}
"""The variables of which one must be set for a daemon to offer a provider."""


def adapter_of(target: Target, local: LocalModel | None = None) -> Adapter:
    """
    Make the adapter that a run asks for.

    Args:
        target: The run's; of the local model its ``model`` is a file.
        local: How a local model is run.

    Raises:
        InvalidMessage: There is no such adapter, or it has to be told which model.
        AdapterError: It can't be had here.
    """
    if target.adapter == LOCAL:
        file = Path(target.model) if target.model is not None else None
        return (local or LocalModel()).adapter(file, target.endpoint)
    make = REMOTE.get(target.adapter)
    if make is None:
        raise InvalidMessage(f"no adapter {target.adapter!r}: it is one of {', '.join(NAMES)}")
    if target.model is None:
        raise InvalidMessage(f"{target.adapter} has to be told which model: --model NAME")
    return make(target.model, target.endpoint)


def offered(file: Path | None, local: LocalModel) -> list[Adapter]:
    """Return what this machine can answer with: the local model first, then providers with a key."""
    remote = [name for name, keys in KEYS.items() if any(os.environ.get(key) for key in keys)]
    own = [local.adapter(file)] if file is not None else []
    return [*own, *(REMOTE[name](None, None) for name in remote)]


class Models:
    """What a daemon answers with, as its HTTP API sees it; see ``syncd.answering``."""

    def __init__(self, adapters: Sequence[Adapter], toolset: Toolset | None = None) -> None:
        self._adapters = {adapter.name: adapter for adapter in adapters}
        self._toolset = toolset or Toolset()

    @property
    def default(self) -> Target | None:
        """What answers a run that leaves it open."""
        return next((Target(name) for name in self._adapters), None)

    def tools(self) -> Mapping[str, Any]:
        """Return what models may call here."""
        return self._toolset.as_json()

    @property
    def offered(self) -> Sequence[Target]:
        """What runs may ask for."""
        return [Target(name, adapter.model or None) for name, adapter in self._adapters.items()]

    def explain(self, conversation: Conversation, target: Target, branch: str) -> Mapping[str, Any]:
        """
        Return what would be sent, and why.

        Raises:
            CantAnswer: Nothing would be.
        """
        try:
            adapter = self._adapters.get(target.adapter) or adapter_of(target)
            return explain(adapter, conversation, target, branch, self._toolset.definitions).as_json()
        except (AdapterError, InvalidMessage) as error:
            raise CantAnswer(str(error)) from error
