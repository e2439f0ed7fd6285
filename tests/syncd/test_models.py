"""The adapters by name, and what a daemon offers of them."""

from __future__ import annotations

import pytest

from adapters.exchange import Hidden
from crdt_conv import InvalidMessage, Store, Target
from syncd.answering import CantAnswer
from syncd.models import KEYS, REMOTE, LocalModel, Models, adapter_of, offered


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for names in KEYS.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", REMOTE)
def test_a_provider_is_offered_where_its_key_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key a daemon offers nobody; with one, the provider whose key it is."""
    assert offered(None, LocalModel()) == []
    for variable in KEYS[name][:1]:
        monkeypatch.setenv(variable, "sk-secret")
    assert name in [adapter.name for adapter in offered(None, LocalModel())]


@pytest.mark.parametrize(("most", "expected"), [(None, 2048), (5, 5), (0, None)])
def test_an_answer_of_the_local_model_has_an_end(most: int | None, expected: int | None) -> None:
    """A small model may never stop, and holds its only place meanwhile; 0 lets it."""
    local = LocalModel() if most is None else LocalModel(max_tokens=most)
    adapter = local.adapter(url="http://127.0.0.1:1")
    with Store(":memory:") as store:
        asked = store.create()
        asked.append("user", "hi")
        explained = Models([adapter]).explain(asked, Target("llamacpp"), "main")
        request, _ = adapter.materialize(
            asked.log().messages, Target("llamacpp"), (), Hidden.of(asked, now_ms=0)
        )
    assert (request.body or {})["max_tokens"] == expected
    assert ("2048 tokens at most" in str(explained)) == (most is None)


@pytest.mark.parametrize("name", REMOTE)
def test_a_provider_has_to_be_told_which_model(name: str) -> None:
    """An adapter is made for a model and an endpoint; without a model the error says what to do."""
    assert adapter_of(Target(name, "m", "http://127.0.0.1:1/v1")).model == "m"
    with pytest.raises(InvalidMessage, match="--model"):
        adapter_of(Target(name))


def test_what_can_t_be_answered_says_why() -> None:
    """An unknown adapter, and a log with nothing to answer, are told in words."""
    conversation = Store(":memory:").create()
    with pytest.raises(CantAnswer, match="no adapter 'crow'"):
        Models(()).explain(conversation, Target("crow"), "main")
    with pytest.raises(CantAnswer, match="nothing to answer"):
        Models(()).explain(conversation, Target("openai-chat", "m"), "main")
    conversation.append("user", "Where?")
    shown = Models(()).explain(conversation, Target("openai-chat", "m"), "main")
    assert shown["request"]["body"]["messages"] == [{"role": "user", "content": "Where?"}]
    assert Models(()).default is None
