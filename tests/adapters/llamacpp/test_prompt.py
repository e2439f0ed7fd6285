"""From messages to tokens: with a vocabulary that one can see through."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.llamacpp.prompt import Answered, Entry, Renderer
from crdt_conv import Conversation, Store
from tests.adapters.llamacpp.tiny import (
    CONTROL,
    TinyServer,
    ask,
    chatml,
    doubling,
    forgetful,
    letters,
    mangling,
    tokenized,
    with_begin,
    without_system,
)

pytestmark = pytest.mark.anyio

words = st.lists(st.sampled_from(["a", "bc", "d ", "\n", "ef", *CONTROL, "x<", "|im_end|>", "é"]), min_size=1)
texts = words.map("".join).filter(lambda text: bool(text.strip()))
# One of blanks alone is no answer: the next request leaves it out.
answers = st.lists(st.sampled_from(["a", "b", "ab", "c.", "\n\n", " d", "é"]), max_size=8).filter(
    lambda pieces: bool("".join(pieces).strip())
)


@pytest.fixture
def conversation() -> Iterator[Conversation]:
    """Return an empty conversation."""
    with Store(":memory:") as store:
        yield store.create()


@settings(max_examples=25)
@given(st.lists(st.tuples(texts, answers), min_size=2, max_size=5), st.sampled_from([chatml, forgetful]))
def test_a_log_that_grew_begins_with_its_tokens(turns: list[tuple[str, list[str]]], template: object) -> None:
    """The tokens of a request, and of its answer, begin the tokens of the next: for any text and template."""

    async def talk() -> None:
        server = TinyServer(template)  # type: ignore[arg-type] # Hypothesis forgets the functions' type
        before: tuple[int, ...] = ()
        with Store(":memory:") as store:
            conversation = store.create()
            for text, answer in turns:
                conversation.append("user", text)
                asked = await ask(conversation, server, answer)
                assert asked.prompt.tokens[: len(before)] == before
                before = (*asked.prompt.tokens, *asked.ids)

    anyio.run(talk)


@given(st.lists(texts, min_size=1, max_size=3))
def test_nobody_writes_a_control_token(written: list[str]) -> None:
    """Of control tokens there are those of the template, whatever people write."""

    async def render() -> tuple[int, ...]:
        entries = [Entry({"role": "user", "content": text}) for text in written]
        return (await Renderer(TinyServer()).render(entries)).tokens

    controls = [token for token in anyio.run(render) if token >= 2_000_000]
    assert len(controls) == 2 * len(written) + 1


async def test_answers_go_back_as_they_were_generated(conversation: Conversation) -> None:
    """Tokens that nobody would make of the text again are the ones that are sent."""
    conversation.append("user", "hi")
    await ask(conversation, TinyServer(), ["a", "b", "c", "d"])
    conversation.append("user", "and")
    asked = await ask(conversation, TinyServer())
    between = tokenized("<|im_start|>assistant\n") + [ord(letter) for letter in "abcd"]
    assert f"{between}"[1:-1] in f"{asked.prompt.tokens}"
    assert (asked.prompt.exact, asked.entries.repairs) == (1, ())
    assert letters("abcd") != [ord(letter) for letter in "abcd"]


async def test_without_ids_an_answer_is_tokenized_again_and_that_is_said(conversation: Conversation) -> None:
    """A conversation with no hidden field left, or with another model's, makes a working request."""
    conversation.append("user", "hi")
    first = (await ask(conversation, TinyServer(), ["a", "b"], space="another")).message
    conversation.append("user", "and")
    imported = conversation.append("assistant", "cd")
    conversation.append("user", "so")
    asked = await ask(conversation, TinyServer())
    expected = chatml(
        [
            {"role": role, "content": text}
            for role, text in zip(
                ["user", "assistant"] * 2 + ["user"], ["hi", "ab", "and", "cd", "so"], strict=True
            )
        ]
    )
    assert asked.prompt.tokens == tuple(tokenized(expected))
    assert [(note.about, note.reason) for note in asked.entries.repairs] == [
        (first.id, "tokenized again: its token ids are another model's"),
        (imported.id, "tokenized again: no token ids are kept with it"),
    ]


async def test_a_template_that_leaves_no_place_gets_the_text(conversation: Conversation) -> None:
    """Where the mark of an answer does not come out, its text goes in, and that is said."""
    conversation.append("user", "hi")
    await ask(conversation, TinyServer(mangling), ["a", "b"])
    conversation.append("user", "and")
    asked = await ask(conversation, TinyServer(mangling))
    assert (asked.prompt.retokenized, asked.prompt.exact) == (frozenset({1}), 0)
    assert ord("A") in asked.prompt.tokens


async def test_a_template_that_repeats_itself_gets_the_text(conversation: Conversation) -> None:
    """A mark that comes out twice is in nobody's prompt."""
    conversation.append("user", "<|im_end|>")
    await ask(conversation, TinyServer(doubling), ["a", "b"])
    conversation.append("user", "and")
    asked = await ask(conversation, TinyServer(doubling))
    assert (asked.prompt.retokenized, asked.prompt.exact) == (frozenset({0, 1}), 0)
    assert ord("@") not in asked.prompt.tokens


@pytest.mark.parametrize(("template", "begin"), [(with_begin, "<s>"), (with_begin, ""), (chatml, "<s>")])
async def test_the_begin_token_stands_there_once(
    conversation: Conversation, template: object, begin: str
) -> None:
    """Whether template, tokenizer or both write it; a person's own is text."""
    conversation.append("user", "<s>")
    server = TinyServer(template, begin)  # type: ignore[arg-type] # parametrize forgets the functions' type
    asked = await ask(conversation, server, begin="<s>")
    [begin_id] = tokenized("<s>")
    assert asked.prompt.tokens[0] == begin_id
    assert asked.prompt.tokens.count(begin_id) == 1


async def test_one_rendering_is_enough_where_the_template_is_steady(conversation: Conversation) -> None:
    """A hundred answers cost one call of the template, not a hundred."""
    server = TinyServer()
    for _ in range(5):
        conversation.append("user", "hi")
        server.rendered.clear()
        await ask(conversation, server)
    assert len(server.rendered) == 1


async def test_a_mark_can_not_be_guessed() -> None:
    """Text that looks like a mark is text: it would have to hold a digest of itself."""
    server = TinyServer()
    entries = [Entry({"role": "assistant", "content": "x"}, (Answered((7,)),))]
    await Renderer(server).render(entries)
    mark = server.rendered[0].split("\n")[1].removesuffix("<|im_end|>")
    prompt = await Renderer(server).render([Entry({"role": "user", "content": mark}), *entries])
    assert (prompt.exact, prompt.tokens.count(7)) == (1, 1)


async def test_what_a_template_refuses_is_an_error() -> None:
    """The server's word for it comes through."""
    entries = [Entry({"role": "system", "content": "x"})]
    with pytest.raises(Exception, match="System role not supported"):
        await Renderer(TinyServer(without_system)).render(entries)
