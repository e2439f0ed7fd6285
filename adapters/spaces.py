"""
Which hidden field may go where: key spaces, and what binds a field more closely. Pure tables.

A *key space* is who can verify or decrypt a field (facts: providers, 0.4). The same
field is refused, or silently dropped, anywhere else; so it is left out, with a
reason. Names of state that a provider holds are narrower: same endpoint and account.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.exchange import Hidden, Json, SentField
from crdt_conv import Destination, HiddenField, Message, Validity, validity

NONE: Final = "none"
"""The space of plain text that nobody sealed."""

# Host to key space; the first row that fits. {host} is the host itself: one resource, one space.
_SPACES: Final[Sequence[tuple[str, str]]] = (
    (r"api\.anthropic\.com", "anthropic"),
    (r"bedrock-mantle\..*amazonaws\.com", "bedrock-mantle"),
    (r"bedrock-runtime\..*amazonaws\.com", "anthropic"),
    (r".*\.services\.ai\.azure\.com", "azure:{host}"),
    (r".*\.(openai|cognitiveservices)\.azure\.com", "azure:{host}"),
    (r"(.*\.)?api\.openai\.com|chatgpt\.com", "openai"),
    (r"generativelanguage\.googleapis\.com", "gemini-api"),
    (r"(.*-)?aiplatform\.googleapis\.com", "vertex"),
    (r"openrouter\.ai", "openrouter"),
    (r"(.*\.)?api\.x\.ai", "xai"),
)

# Claude runs at all of these with the same keys; what tells it is the adapter, not the host.
_CLAUDE_EVERYWHERE: Final = re.compile(
    r"bedrock-runtime\.|aiplatform\.googleapis\.com$|\.services\.ai\.azure\.com$|^api\.anthropic\.com$"
)

# Space and kind to what else must be the same; * stands for all. Facts: 0.1, 3.6, 2.5.
_NARROWER: Final[Sequence[tuple[str, str, frozenset[str]]]] = (
    ("openai", "*", frozenset({"account", "model"})),
    ("azure:*", "*", frozenset({"account", "model"})),
    ("bedrock-mantle", "*", frozenset({"account", "model"})),
    ("openrouter*", "*", frozenset({"model"})),
    ("xai", "*", frozenset({"account"})),
)

# Claude models whose reasoning is readable by its own model alone, and by its own organization alone.
_MODEL_BOUND: Final = re.compile(r"(fable-5-[12]|mythos-5-2|(opus|sonnet|haiku)-5-5)(?!\d)")
_ACCOUNT_BOUND: Final = re.compile(r"(sonnet|haiku)-5-5(?!\d)")
_REASONING: Final = frozenset({"thinking", "redacted_thinking"})


def space_of(base_url: str, *, is_claude: bool = False) -> str:
    """
    Return the key space of an endpoint; a host that nobody knows is a space of its own.

    Args:
        base_url: Where requests go.
        is_claude: Whether it speaks Anthropic's API: clouds share the keys of Claude.
    """
    host = (urlsplit(base_url).hostname or base_url).lower()
    if is_claude and _CLAUDE_EVERYWHERE.search(host):
        return "anthropic"
    port = urlsplit(base_url).port
    own = f"{host}:{port}" if port else host
    for pattern, space in _SPACES:
        if re.fullmatch(pattern, host):
            return space.format(host=host)
    return f"host:{own}"


def account_of(api_key: str | None, label: str | None = None) -> str:
    """
    Return a name for the account behind a key: the label given to it, or a mark that tells keys apart.

    The mark is 32 bits of a digest of the key; a key can't be found by it.
    """
    if label is not None:
        return label
    return hashlib.sha256(b"crdt-conv account\0" + api_key.encode()).hexdigest()[:8] if api_key else ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes, and so where the hidden fields of its answer come from."""

    provider: str
    space: str
    endpoint: str
    model: str
    account: str = ""

    @property
    def address(self) -> str:
        """Endpoint and account in one: what a name of server-held state is good for."""
        return f"{self.endpoint}#{self.account}"

    def seal(self, kind: str, data: bytes | Json, *, space: str | None = None, **values: Any) -> HiddenField:
        """Return a hidden field that this place has sealed; further values are those of ``HiddenField``."""
        return HiddenField(
            provider=self.provider,
            space=self.space if space is None else space,
            kind=kind,
            data=data,
            model=self.model,
            endpoint=self.address,
            **values,
        )


def sent_field(message_id: str, field: HiddenField) -> SentField:
    """Return how a report names a field that goes along."""
    return SentField(message_id, field.at, field.kind, field.space, field.binding)


def may_go(
    field: HiddenField, message: Message, to: Place, hidden: Hidden, *, prefix: str | None = None
) -> Validity:
    """
    Say whether a hidden field may go to a place, and if not, why in words for people.

    Args:
        field: The field.
        message: The message that carries it.
        to: Where the request goes.
        hidden: The time, and what the provider has refused before.
        prefix: The digest of the request as far as this field.
    """
    space = NONE if field.space == NONE else to.space
    destination = Destination(space, to.address, to.model)
    held = validity(field, message, destination, prefix=prefix, now_ms=hidden.now_ms)
    if not held:
        return held
    if hidden.is_refused(field, message):
        return Validity(is_valid=False, reason="the provider has refused it before")
    needs = _needs(field)
    if "account" in needs and (field.endpoint or "").rpartition("#")[2] != to.account:
        return Validity(is_valid=False, reason="another account sealed it")
    if "model" in needs and field.model != to.model:
        return Validity(is_valid=False, reason=f"only {field.model} can read it")
    return held


def _needs(field: HiddenField) -> frozenset[str]:
    if field.space == "anthropic" and field.kind in _REASONING:
        model = (field.model or "").replace(".", "-")
        needs = {"model"} if _MODEL_BOUND.search(model) else set()
        return frozenset(needs | ({"account"} if _ACCOUNT_BOUND.search(model) else set()))
    for space, kind, needed in _NARROWER:
        is_space = field.space.startswith(space[:-1]) if space.endswith("*") else field.space == space
        if is_space and kind in ("*", field.kind):
            return needed
    return frozenset()
