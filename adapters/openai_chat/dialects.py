"""
How servers of Chat Completions differ: one table.

``reasoning`` says when readable reasoning goes back to who made it: ``never``, or ``always``,
under the key it came with. ``required`` stands for servers that refuse a tool turn
without it; an answer of another model gets an empty text there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    One kind of server.

    ``call_id`` is what an id of a call must match. ``media`` are the kinds that go as parts of
    a user's message. ``system_anywhere`` says whether system messages may stand behind others.
    """

    provider: str
    system_role: str = "system"
    system_anywhere: bool = True
    reasoning: Literal["never", "always", "required"] = "always"
    media: frozenset[str] = frozenset({"image"})
    call_id: str = r".+"
    max_tokens: str = "max_tokens"
    has_usage_option: bool = True
    pins_upstream: bool = False


_ALL_MEDIA: Final = frozenset({"image", "audio", "file"})

# OpenAI takes ids of 40 characters at most.
_OPENAI: Final = Dialect(
    "openai", reasoning="never", media=_ALL_MEDIA, max_tokens="max_completion_tokens", call_id=".{1,40}"
)

DIALECTS: Final[Mapping[str, Dialect]] = {
    dialect.provider: dialect
    for dialect in (
        _OPENAI,
        replace(_OPENAI, provider="azure"),
        Dialect("bedrock-mantle", reasoning="never"),
        Dialect("openrouter", media=_ALL_MEDIA | {"video"}, pins_upstream=True),
        Dialect("deepseek", reasoning="required", media=frozenset()),
        Dialect("qwen", media=frozenset({"image", "audio", "video"})),
        Dialect("moonshot"),
        Dialect("zai"),
        Dialect("cerebras", media=frozenset()),
        Dialect("groq"),
        # Nine letters and digits, or it answers 422.
        Dialect("mistral", call_id="[a-zA-Z0-9]{9}", has_usage_option=False, system_anywhere=False),
        Dialect("google-openai", system_anywhere=False, media=frozenset({"image", "audio"})),
        Dialect("huggingface"),
        Dialect("together"),
        Dialect("fireworks"),
        Dialect("xai"),
        Dialect("snowflake"),
        # Of local servers the model's template decides; many want one system message, and first.
        Dialect("vllm", system_anywhere=False),
        Dialect("sglang", system_anywhere=False),
        Dialect("ollama", system_anywhere=False),
        Dialect("lmstudio", system_anywhere=False),
        Dialect("llamacpp", system_anywhere=False),
    )
}

# Host, with its port, to dialect; the first row that fits.
_HOSTS: Final[Sequence[tuple[str, str]]] = (
    (r"(.*\.)?api\.openai\.com", "openai"),
    (r".*\.(openai|cognitiveservices|services\.ai)\.azure\.com", "azure"),
    (r"bedrock-mantle\..*\.(amazonaws\.com|api\.aws)", "bedrock-mantle"),
    (r"openrouter\.ai", "openrouter"),
    (r"api\.deepseek\.com", "deepseek"),
    (r"dashscope.*\.aliyuncs\.com", "qwen"),
    (r"api\.moonshot\.(ai|cn)", "moonshot"),
    (r"(api\.z\.ai|open\.bigmodel\.cn)", "zai"),
    (r"api\.cerebras\.ai", "cerebras"),
    (r"api\.groq\.com", "groq"),
    (r"api\.mistral\.ai", "mistral"),
    (r"generativelanguage\.googleapis\.com|.*aiplatform\.googleapis\.com", "google-openai"),
    (r"router\.huggingface\.co", "huggingface"),
    (r"api\.together\.(xyz|ai)", "together"),
    (r"api\.fireworks\.ai", "fireworks"),
    (r"(.*\.)?api\.x\.ai", "xai"),
    (r".*\.snowflakecomputing\.com", "snowflake"),
    (r"[^:]*:11434", "ollama"),
    (r"[^:]*:1234", "lmstudio"),
)


def dialect_of(base_url: str, name: str | None = None) -> Dialect:
    """
    Return how to speak to a server: by a name from the table, else by its address.

    Raises:
        KeyError: No dialect has this name.
    """
    if name is not None:
        return DIALECTS[name]
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    at = f"{host}:{parts.port}" if parts.port else host
    for pattern, found in _HOSTS:
        if re.fullmatch(pattern, host) or re.fullmatch(pattern, at):
            return DIALECTS[found]
    return Dialect(f"host:{at}", system_anywhere=False)
