"""
From messages to the tokens of a prompt, through the model's own chat template.

The template sees a mark in the place of every answer whose tokens are known, and of
every text that a person wrote so that it reads like a control token. What it makes of
the rest is tokenized in one call, the marks are replaced, and so:

- an answer goes back as the tokens that it was generated as;
- nothing that a person writes becomes a control token;
- the tokens of a log's prompt, and then of its answer, begin the prompt of every log
  that goes on from there. Some templates write earlier answers otherwise than they asked
  for them (without their reasoning, say). Where the tokens before an answer are not those
  that it answered, by their digest, that part is rendered as it was then.

The model's begin token stands there once, whether template, tokenizer or both write it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

from adapters.llamacpp.tokens import digest_of

Json: TypeAlias = Any
Ids: TypeAlias = tuple[int, ...]

# One of these stands in every control token of every vocabulary so far: <|im_end|>, [INST], <s>.
_SUSPICIOUS: Final = re.compile(r"[<\[|\uff5c]")


class Tokenizer(Protocol):
    """What is asked of a server."""

    async def tokenize_mixed(
        self, content: Sequence[str | int], *, add_special: bool, parse_special: bool
    ) -> list[int]:
        """Return the ids of texts one after another; numbers among them come back as they are."""

    async def apply_template(self, messages: Sequence[Json], tools: Sequence[Json] = ()) -> str:
        """Return the text of the prompt, with what asks for an answer at its end."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The ids of an answer, and the short digest of the prompt it was generated from, with its salt."""

    ids: Ids
    prompt: bytes = b""
    salt: bytes = b""


Piece: TypeAlias = str | Answered


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One message for the template.

    ``fields`` is what the template is given; ``pieces``, where there are any, is its content
    with the tokens of answers in it, and ``plain`` holds the further keys that go along
    where it has to be tokenized again (tool calls, reasoning: the tokens hold them). ``about``
    are ids of messages. ``is_question`` says that nothing before it belongs to it.
    """

    fields: Mapping[str, Json]
    pieces: tuple[Piece, ...] = ()
    plain: Mapping[str, Json] = field(default_factory=dict)
    about: tuple[str, ...] = ()
    is_question: bool = False

    @property
    def role(self) -> str:
        """Its role."""
        return str(self.fields.get("role"))


@dataclass(frozen=True, slots=True)
class Prompt:
    """
    The tokens, and the end of their text.

    ``exact`` says how many answers went as their own tokens; ``retokenized`` are places of
    entries that had tokens which the template left no place for.
    """

    tokens: Ids
    tail: str
    exact: int = 0
    retokenized: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Marked:
    """Entries as the template sees them; a mark stands for an answer or a person's text."""

    messages: list[Mapping[str, Json]] = field(default_factory=list)
    marks: dict[str, Answered | str] = field(default_factory=dict)
    owners: dict[str, int] = field(default_factory=dict)


class Renderer:
    """Makes prompts with one server."""

    def __init__(self, server: Tokenizer, *, begin: str = "") -> None:
        """
        Make a renderer.

        Args:
            server: What knows template and vocabulary.
            begin: The text of the model's begin token, or nothing.
        """
        self._server = server
        self._begin = begin
        self._begin_id: int | None = None

    def with_server(self, server: Tokenizer) -> Renderer:
        """Return one that asks the same model through something else."""
        renderer = Renderer(server, begin=self._begin)
        renderer._begin_id = self._begin_id
        return renderer

    async def render(self, entries: Sequence[Entry], tools: Sequence[Json] = ()) -> Prompt:
        """
        Return the prompt that asks for the next answer.

        Raises:
            AdapterError: The template refuses the messages, or the server is away.
        """
        dangerous = await self._dangerous(entries)
        plain: frozenset[int] = frozenset()
        while True:
            marked = _mark(entries, dangerous, plain)
            text = await self._server.apply_template(marked.messages, tools)
            lost = _lost(text, marked)
            if not lost:
                break
            # The template does something else with it than writing it: then it gets the text.
            plain |= lost
        segments = await self._tokenize(_split(text, marked))
        tokens = await self._as_it_was(entries, tools, segments, dangerous, plain)
        answers = sum(isinstance(value, Answered) for value in marked.marks.values())
        return Prompt(tokens, text[-200:], answers, plain)

    # The tokens before an answer

    async def _as_it_was(
        self,
        entries: Sequence[Entry],
        tools: Sequence[Json],
        segments: Sequence[Ids | Answered],
        dangerous: frozenset[str],
        plain: frozenset[int],
    ) -> Ids:
        tokens: list[int] = []
        places = iter(_answer_places(entries, plain))
        start = 0
        for segment in segments:
            if not isinstance(segment, Answered):
                tokens += segment
                continue
            place, is_first = next(places)
            if segment.prompt and is_first and digest_of(tokens, segment.salt) != segment.prompt:
                then = [*tokens[:start], *await self._before(entries[:place], tools, dangerous, plain)]
                if digest_of(then, segment.salt) == segment.prompt:
                    tokens = then
            tokens += segment.ids
            start = len(tokens)
        return tuple(tokens)

    async def _before(
        self,
        entries: Sequence[Entry],
        tools: Sequence[Json],
        dangerous: frozenset[str],
        plain: frozenset[int],
    ) -> Ids:
        """Return the tokens between the last answer in entries and the one they asked for."""
        marked = _mark(entries, dangerous, plain)
        text = await self._server.apply_template(marked.messages, tools)
        segments = await self._tokenize(_split(text, marked))
        last = segments[-1]
        return () if isinstance(last, Answered) else last

    # Tokenizing

    async def _tokenize(self, pieces: Sequence[str | Answered | _Literal]) -> list[Ids | Answered]:
        """Tokenize what stands between answers; neighbours become one."""
        template: list[str | int] = []
        literal: list[str | int] = []
        for number, piece in enumerate(pieces):
            if isinstance(piece, Answered):
                template.append(-1 - number)
            elif isinstance(piece, _Literal):
                template.append(-1 - number)
                literal += [-1 - number, piece.text]
            else:
                template.append(piece)
        ids = await self._server.tokenize_mixed(template, add_special=True, parse_special=True)
        texts = (
            _by_mark(await self._server.tokenize_mixed(literal, add_special=False, parse_special=False))
            if literal
            else {}
        )
        segments: list[Ids | Answered] = []
        run: list[int] = []
        for token in ids:
            if token >= 0:
                run.append(token)
            elif isinstance(piece := pieces[-1 - token], Answered):
                segments += [tuple(run), piece]
                run = []
            else:
                run += texts.get(token, ())
        segments.append(tuple(run))
        if not isinstance(first := segments[0], Answered):
            segments[0] = self._once(await self._begin_of(), first)
        return segments

    async def _dangerous(self, entries: Sequence[Entry]) -> frozenset[str]:
        """Return the texts that would be read as control tokens."""
        texts = sorted(
            {text for entry in entries for text in _texts(entry) if _SUSPICIOUS.search(text) is not None}
        )
        if not texts:
            return frozenset()
        listed: list[str | int] = [item for number, text in enumerate(texts) for item in (-1 - number, text)]
        # Begins with a number, so that no begin token is put before the first text.
        as_control = await self._server.tokenize_mixed(listed, add_special=False, parse_special=True)
        as_text = await self._server.tokenize_mixed(listed, add_special=False, parse_special=False)
        read, written = _by_mark(as_control), _by_mark(as_text)
        return frozenset(
            text for number, text in enumerate(texts) if read[-1 - number] != written[-1 - number]
        )

    async def _begin_of(self) -> int | None:
        if self._begin and self._begin_id is None:
            ids = await self._server.tokenize_mixed([self._begin], add_special=False, parse_special=True)
            self._begin_id = ids[0] if len(ids) == 1 else None
        return self._begin_id

    @staticmethod
    def _once(begin: int | None, tokens: Ids) -> Ids:
        """Return tokens that begin with the begin token once at most."""
        while begin is not None and tokens[:2] == (begin, begin):
            tokens = tokens[1:]
        return tokens


@dataclass(frozen=True, slots=True)
class _Literal:
    """A person's text, none of which is a control token."""

    text: str


def _texts(entry: Entry) -> list[str]:
    content = entry.fields.get("content")
    if entry.pieces:
        return [piece for piece in entry.pieces if isinstance(piece, str)]
    return [content] if isinstance(content, str) else []


def _mark(entries: Sequence[Entry], dangerous: frozenset[str], plain: frozenset[int]) -> _Marked:
    marked = _Marked()
    # Nobody can have written it before: it depends on everything that was.
    written = repr([entry.fields for entry in entries]).encode(errors="replace")
    stamp = hashlib.sha256(written).hexdigest()[:16]
    for place, entry in enumerate(entries):
        pieces: Sequence[Piece] = entry.pieces
        if not pieces or place in plain:
            content = entry.fields.get("content")
            is_marked = content in dangerous if isinstance(content, str) else False
            pieces = (content,) if isinstance(content, str) and is_marked and place not in plain else ()
        if not pieces:
            marked.messages.append({**entry.fields, **entry.plain})
            continue
        text = ""
        for piece in pieces:
            if isinstance(piece, str) and piece not in dangerous:
                text += piece
                continue
            mark = f"@{stamp}:{len(marked.marks)}@"
            marked.marks[mark] = piece
            marked.owners[mark] = place
            text += mark
        marked.messages.append({**entry.fields, "content": text})
    return marked


def _lost(text: str, marked: _Marked) -> frozenset[int]:
    """Return the entries whose marks do not stand in a text once each, in their order."""
    lost: set[int] = set()
    end = 0
    for mark, owner in marked.owners.items():
        place = text.find(mark, end)
        if place < 0 or text.count(mark) != 1:
            lost.add(owner)
        else:
            end = place + len(mark)
    return frozenset(lost)


def _split(text: str, marked: _Marked) -> list[str | Answered | _Literal]:
    pieces: list[str | Answered | _Literal] = []
    for mark, value in marked.marks.items():
        before, _, text = text.partition(mark)
        pieces += [before, value if isinstance(value, Answered) else _Literal(value)]
    # An empty text adds nothing, but the begin token stands before the first.
    return [piece for number, piece in enumerate([*pieces, text]) if piece or number == 0]


def _answer_places(entries: Sequence[Entry], plain: frozenset[int]) -> list[tuple[int, bool]]:
    """Return the place of every answer with tokens, and whether its entry begins with it."""
    return [
        (place, number == 0)
        for place, entry in enumerate(entries)
        if place not in plain
        for number, piece in enumerate(entry.pieces)
        if isinstance(piece, Answered)
    ]


def _by_mark(ids: Sequence[int]) -> dict[int, list[int]]:
    """Return the ids behind every negative number."""
    found: dict[int, list[int]] = {}
    for token in ids:
        if token < 0:
            found[token] = []
        else:
            found[next(reversed(found))].append(token)
    return found
