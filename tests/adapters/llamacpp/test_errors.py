"""The errors of adapters."""

from __future__ import annotations

import pytest

import adapters
from adapters import errors
from adapters.errors import AdapterError, ContextOverflow, ProviderUnavailable, RequestRefused

RETRYABLE = {"ProviderUnavailable", "StreamBroken"}
ALL = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AdapterError)),
    key=lambda kind: kind.__name__,
)


def test_every_type_is_told_apart() -> None:
    """No two errors share the word that programs read."""
    types = [kind.type for kind in ALL]
    assert len(set(types)) == len(types)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_is_in_the_tree_and_public(kind: type[AdapterError]) -> None:
    """The drawing says of each what the caller does, and the package exports it."""
    assert f"{kind.__name__} " in (errors.__doc__ or "").replace("\n", " ")
    assert getattr(adapters, kind.__name__) is kind
    assert kind.is_retryable is (kind.__name__ in RETRYABLE)


def test_data_stands_in_attributes() -> None:
    """Status, delay and counts need not be read out of a text."""
    loading = ProviderUnavailable("loading", status=503, retry_after_s=2.5)
    assert (loading.status, loading.retry_after_s) == (503, 2.5)
    overflow = ContextOverflow("too long", prompt_tokens=9, context_tokens=8)
    assert (overflow.prompt_tokens, overflow.context_tokens, overflow.status) == (9, 8, 400)
    assert isinstance(overflow, RequestRefused)
