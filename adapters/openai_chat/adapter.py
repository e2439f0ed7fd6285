"""The adapter for Chat Completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from adapters.exchange import Hidden, Report, Request, Tool
from adapters.http import Timeouts
from adapters.normalize import Progress
from adapters.openai_chat.dialects import Dialect, dialect_of
from adapters.openai_chat.ingest import ChatIngest
from adapters.openai_chat.materialize import ChatWriter, materialize
from adapters.remote import Remote, key_of
from crdt_conv import Message, Target

_KEYS = {
    "azure": ("AZURE_OPENAI_API_KEY",),
    "cerebras": ("CEREBRAS_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "fireworks": ("FIREWORKS_API_KEY",),
    "google-openai": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "huggingface": ("HF_TOKEN",),
    "mistral": ("MISTRAL_API_KEY",),
    "moonshot": ("MOONSHOT_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "qwen": ("DASHSCOPE_API_KEY",),
    "together": ("TOGETHER_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "zai": ("ZAI_API_KEY",),
}
"""Whose key may come from the environment: a key goes to its own provider alone."""


class OpenAIChat(Remote):
    """
    Answers with any server of Chat Completions.

    Example:
        ``OpenAIChat("deepseek-chat", base_url="https://api.deepseek.com")``
    """

    name: ClassVar[str] = "openai-chat"

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "https://api.openai.com/v1",
        api_key: str | None = None,
        dialect: str | None = None,
        account: str | None = None,
        timeouts: Timeouts | None = None,
        at_once: int = 4,
    ) -> None:
        """
        Choose the server.

        Args:
            model: The model that answers where a run leaves that open.
            base_url: Where requests go; ``/chat/completions`` is put behind it.
            api_key: The key; the provider's own variable (``OPENAI_API_KEY``, …), where it is left out.
            dialect: One of ``DIALECTS``; told by the address, where it is left out.
            account: A name for the account, so that its hidden fields outlive a change of key.
            timeouts: How long a call waits.
            at_once: How many answers at the same time.

        Raises:
            RequestRefused: The address is no URL.
            KeyError: No dialect has this name.
        """
        self._progress: Progress[ChatWriter] = Progress()
        self.dialect: Dialect = dialect_of(base_url, dialect)
        by_address = dialect_of(base_url).provider
        key = key_of(api_key, *_KEYS.get(by_address, ()))
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if by_address == "azure" and key:
            headers = {"api-key": key}
        super().__init__(
            model,
            base_url,
            headers,
            api_key=key,
            account=account,
            provider=self.dialect.provider,
            timeouts=timeouts,
            at_once=at_once,
        )

    def materialize(
        self, log: Sequence[Message], target: Target, tools: Sequence[Tool], hidden: Hidden
    ) -> tuple[Request, Report]:
        """Turn a log into a request; see ``materialize.materialize``."""
        return materialize(
            log,
            target,
            tools,
            hidden,
            place=self.place(target),
            dialect=self.dialect,
            progress=self._progress,
        )

    def ingest(self, request: Request) -> ChatIngest:
        """Begin to read the answer to a request."""
        return ChatIngest(request, self.placed(request))
