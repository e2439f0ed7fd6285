"""From raw text to text, reasoning and calls, however it is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.llamacpp.reading import Called, Read, Reader, Said
from adapters.llamacpp.toolcalls import is_native, parse_call

CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
ADD = Called("add", '{"a": 1}')


def read(pieces: list[str], *, is_thinking: bool = False) -> list[Read]:
    """Return what pieces say, neighbours of one type joined."""
    reader, found = Reader(has_reasoning=True, has_tools=True, is_thinking=is_thinking), list[Read]()
    for item in [item for piece in pieces for item in reader.feed(piece)] + reader.end():
        last = found[-1] if found else None
        if isinstance(item, Said) and isinstance(last, Said) and last.type == item.type:
            found[-1] = Said(item.type, last.text + item.text)
        else:
            found.append(item)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Rome.", [Said("text", "Rome.")]),
        ("<think>\nHm.\n</think>\n\nRome.", [Said("reasoning", "Hm.\n"), Said("text", "Rome.")]),
        (f"Wait.{CALL}", [Said("text", "Wait."), ADD]),
        (f"{CALL}\n{CALL}", [ADD, ADD]),
        ("a < b <thin", [Said("text", "a < b <thin")]),
        ("<think>no end", [Said("reasoning", "no end")]),
        ("<tool_call>\n{no", [Said("text", "<tool_call>\n{no")]),
        ("<tool_call>{no}</tool_call>!", [Said("text", "<tool_call>{no}</tool_call>!")]),
        ("</think>x", [Said("text", "</think>x")]),
    ],
)
@given(st.data())
def test_where_it_is_cut_makes_no_difference(text: str, expected: list[Read], data: st.DataObject) -> None:
    """Every reading ends the same, letter by letter or at once."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    places = [0, *cuts, len(text)]
    assert read([text[a:b] for a, b in pairwise(places)]) == expected


def test_a_prompt_may_have_begun_to_think() -> None:
    """Where the template asks for reasoning, the answer begins with it."""
    assert read(["Hm.</think>Rome."], is_thinking=True) == [Said("reasoning", "Hm."), Said("text", "Rome.")]


def test_words_mean_nothing_to_models_that_do_not_use_them() -> None:
    """A model that was offered no tools and does not reason may write about both."""
    reader = Reader(has_reasoning=False, has_tools=False)
    text = f"\n<think>{CALL}"
    assert (reader.feed(text), reader.end()) == ([Said("text", text)], [])


def test_nothing_is_held_back_for_long() -> None:
    """Only what may be the beginning of a word waits."""
    reader = Reader(has_reasoning=True, has_tools=True)
    assert reader.feed("a <") == [Said("text", "a ")]
    assert not reader.is_settled
    assert reader.feed("b") == [Said("text", "<b")]
    assert reader.is_settled


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"name": 1}', '{"name": "a", "arguments": []}', "[" * 100_000]
)
def test_what_is_no_call_is_none(text: str) -> None:
    """Neither rubbish nor depth raises."""
    assert parse_call(text) is None


@pytest.mark.parametrize(
    ("template", "caps", "expected"),
    [
        ("{{ tools }}<tool_call>\n{{ call }}", {"supports_tools": True}, True),
        ("{{ message }}", {}, False),
        ("<tool_call>{{ name }}<arg_key>", {"supports_tools": True}, False),
        ("<tool_call><function={{ name }}>", {"supports_tools": True}, False),
        ("<tool_call>", {"supports_tools": False}, False),
    ],
)
def test_which_templates_write_calls_as_they_are_read(
    template: str, caps: dict[str, bool], *, expected: bool
) -> None:
    """Others write XML into the same words, or know no tools."""
    assert is_native(template, caps) is expected
