"""Which hidden field may go where."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from adapters.exchange import Hidden
from adapters.spaces import Place, account_of, may_go, space_of
from crdt_conv import Message, MessageId, Part

# An address, whether it speaks Anthropic's API, and its key space.
SPACES = [
    ("https://api.anthropic.com", True, "anthropic"),
    ("https://bedrock-runtime.us-east-1.amazonaws.com", True, "anthropic"),
    ("https://us-east5-aiplatform.googleapis.com/v1", True, "anthropic"),
    ("https://mine.services.ai.azure.com/anthropic", True, "anthropic"),
    ("https://api.openai.com/v1", False, "openai"),
    ("https://eu.api.openai.com/v1", False, "openai"),
    ("https://chatgpt.com/backend-api", False, "openai"),
    ("https://mine.openai.azure.com/openai/v1", False, "azure:mine.openai.azure.com"),
    ("https://generativelanguage.googleapis.com/v1beta", False, "gemini-api"),
    ("https://aiplatform.googleapis.com/v1", False, "vertex"),
    ("https://us-east5-aiplatform.googleapis.com/v1", False, "vertex"),
    ("https://openrouter.ai/api/v1", False, "openrouter"),
    ("https://api.x.ai/v1", False, "xai"),
    ("http://127.0.0.1:8080/v1", False, "host:127.0.0.1:8080"),
    ("https://api.anthropic.com.evil.example", True, "host:api.anthropic.com.evil.example"),
    ("https://evil-api.openai.com.example/v1", False, "host:evil-api.openai.com.example"),
]


@pytest.mark.parametrize(("url", "is_claude", "expected"), SPACES)
def test_an_address_has_a_key_space(url: str, is_claude: bool, expected: str) -> None:  # noqa: FBT001 - a row
    """Clouds that share keys share a space; a host that nobody knows has its own."""
    assert space_of(url, is_claude=is_claude) == expected


MESSAGE = Message(MessageId("m"), "assistant", (), parts=(Part("p", "reasoning", {"text": "hm"}),))
PLACES = [
    Place("anthropic", "anthropic", "https://api.anthropic.com", "claude-opus-4-1", "a"),
    Place("anthropic", "anthropic", "https://api.anthropic.com", "claude-opus-5-5", "a"),
    Place("anthropic", "anthropic", "https://bedrock-runtime.x.amazonaws.com", "claude-opus-4-1", "b"),
    Place("openai", "openai", "https://api.openai.com/v1", "gpt-5", "a"),
    Place("openai", "openai", "https://api.openai.com/v1", "gpt-6", "a"),
    Place("openai", "openai", "https://api.openai.com/v1", "gpt-5", "b"),
    Place("openai", "azure:r1", "https://r1.openai.azure.com", "gpt-5", "a"),
    Place("openai", "azure:r2", "https://r2.openai.azure.com", "gpt-5", "a"),
    Place("gemini", "gemini-api", "https://generativelanguage.googleapis.com", "gemini-3", "a"),
    Place("gemini", "vertex", "https://aiplatform.googleapis.com", "gemini-3", "a"),
    Place("openrouter", "openrouter/Anthropic", "https://openrouter.ai/api/v1", "c", "a"),
    Place("openrouter", "openrouter/Google", "https://openrouter.ai/api/v1", "c", "a"),
    Place("openrouter", "openrouter/Google", "https://openrouter.ai/api/v1", "d", "a"),
    Place("xai", "xai", "https://api.x.ai/v1", "grok-5", "a"),
    Place("local", "host:127.0.0.1:1", "http://127.0.0.1:1", "m", ""),
]
# What else may read it, by the numbers above: everything else may not.
READERS = {(0, 1), (0, 2), (2, 0), (2, 1)}
PAIRS = list(product(range(len(PLACES)), repeat=2))


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_no_field_goes_where_it_must_not(source: int, target: int) -> None:
    """Of all pairs of provider, endpoint, account and model only those in the table share reasoning."""
    field = replace(PLACES[source].seal("thinking", "sealed"), at="p")
    told = may_go(field, MESSAGE, PLACES[target], Hidden())
    assert bool(told) is (source == target or (source, target) in READERS)
    assert bool(told) is not bool(told.reason)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_name_of_server_state_stays_with_endpoint_and_account(source: int, target: int) -> None:
    """A handle means nothing to another endpoint, nor to another account."""
    field = PLACES[source].seal("response_id", "resp_1", binding="server")
    same = all(
        getattr(PLACES[source], name) == getattr(PLACES[target], name)
        for name in ("space", "endpoint", "account")
    )
    is_model_free = PLACES[source].model == PLACES[target].model or PLACES[source].space == "anthropic"
    assert bool(may_go(field, MESSAGE, PLACES[target], Hidden())) is (same and is_model_free)


def test_what_was_refused_before_is_not_sent_again() -> None:
    """What was refused stays out, and the reason says so; names of state are refused by themselves."""
    field, handle = PLACES[0].seal("thinking", "x"), PLACES[0].seal("id", "x", binding="server")
    for refused, out, stays in (("m", field, handle), ("m:server", handle, field)):
        hidden = Hidden(refused=frozenset({refused}))
        assert may_go(out, MESSAGE, PLACES[0], hidden).reason == "the provider has refused it before"
        assert may_go(stays, MESSAGE, PLACES[0], hidden)


def test_a_key_is_not_in_the_name_of_its_account() -> None:
    """The mark tells keys apart and no more; a label stands for it."""
    assert account_of("sk-one") != account_of("sk-two")
    assert len(account_of("sk-one")) == 8
    assert (account_of("sk-one", "work"), account_of(None)) == ("work", "")
