"""From a request to an answer on a running server: tokens, what fits, a slot, a generation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from adapters.errors import ContextOverflow, RequestRefused
from adapters.exchange import Note
from adapters.llamacpp.checking import without_forged
from adapters.llamacpp.entries import PER_MESSAGE, Entries, entries_of, to_drop, units_of
from adapters.llamacpp.generation import CompletionServer, Generation, Wanted
from adapters.llamacpp.live import Live
from adapters.llamacpp.materialize import DROP_OLDEST
from adapters.llamacpp.prompt import Answered, Entry, Prompt
from adapters.llamacpp.reading import THINK
from adapters.llamacpp.slots import Use
from adapters.llamacpp.tokens import digest_of

Json: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A prompt that fits, and what was left out for that."""

    prompt: Prompt
    entries: Sequence[Entry]
    left_out: tuple[Note, ...] = ()


async def answer(
    live: Live, body: Mapping[str, Json], revive: Callable[[], Awaitable[Live]] | None = None
) -> AsyncGenerator[dict[str, Json], None]:
    """
    Yield the events of an answer: ``{"prompt": {…}}`` first, then those of ``generation``.

    Args:
        live: Who answers.
        body: A request's; see ``materialize``.
        revive: Waits for the server to come back after it died, and returns it.

    Raises:
        ContextOverflow: The log is too long, and that is to be an error.
        AdapterError: The request was refused, or the answer broke off.
    """
    body = await without_forged(body, live.space, live.client, live.checked)
    entries = entries_of(body, live.space, is_native=live.is_native)
    begun = await _begun(live, entries, body)
    fitted = await _fitted(live, entries, body, len(begun))
    wanted = _wanted(body, fitted.prompt, begun)
    context = (*fitted.prompt.tokens, *begun)
    async with AsyncExitStack() as stack:
        use = (
            await stack.enter_async_context(live.slots.use(live.client, context, _about(body)))
            if live.slots is not None
            else None
        )
        yield {"prompt": _told(live, body, entries, fitted, use)}
        if use is not None:
            wanted = replace(wanted, slot=use.slot.number)
        generation = Generation(live.client, wanted, _recovery(use, fitted.prompt, revive))
        try:
            async with aclosing(generation.events()) as events:
                async for event in events:
                    yield event
        finally:
            if use is not None and live.slots is not None:
                # How far a prompt was computed that was cut off, nobody tells.
                held = (
                    (*fitted.prompt.tokens, *generation.held)
                    if generation.has_begun
                    else context[: use.common]
                )
                live.slots.settle(use, held, generation.cached)


def _about(body: Mapping[str, Json]) -> set[str]:
    return {body["end"], *(about for message in body["messages"] for about in message["about"])}


def _recovery(
    use: Use | None, prompt: Prompt, revive: Callable[[], Awaitable[Live]] | None
) -> Callable[[Sequence[int]], Awaitable[tuple[CompletionServer, int | None]]] | None:
    if revive is None:
        return None

    async def recover(ids: Sequence[int]) -> tuple[CompletionServer, int | None]:
        live = await revive()
        if use is None or live.slots is None:
            return live.client, None
        await live.slots.again(use, live.client, (*prompt.tokens, *ids))
        return live.client, use.slot.number

    return recover


def _wanted(body: Mapping[str, Json], prompt: Prompt, begun: tuple[int, ...]) -> Wanted:
    names = {tool["function"]["name"] for tool in body["tools"]}
    choice = body["tool_choice"]
    if choice not in {"auto", "none", "required", *names}:
        raise RequestRefused(f"tool_choice names no tool that is offered: {choice!r}")
    return Wanted(
        prompt.tokens,
        body["sampling"],
        body["tools"] if choice != "none" else (),
        choice,
        body["parallel_tool_calls"],
        body["json_schema"],
        tuple(body["stop"]),
        body["max_tokens"],
        begun=begun,
    )


async def _begun(live: Live, entries: Entries, body: Mapping[str, Json]) -> tuple[int, ...]:
    """Return the tokens of an answer that is gone on with."""
    ids, rest = entries.begun
    # A grammar knows no middle: what is bound to one begins anew.
    if body["json_schema"] is not None or (body["tools"] and body["tool_choice"] not in {"auto", "none"}):
        return ()
    if rest:
        more = await live.client.tokenize_mixed([rest], add_special=False, parse_special=False)
        return (*ids, *more)
    return ids


# What fits


async def _fitted(live: Live, entries: Entries, body: Mapping[str, Json], begun: int) -> _Fitted:
    tools = body["tools"] if live.is_native else ()
    prompt = await live.renderer.render(entries.entries, tools)
    room = live.context_tokens - begun - 1
    if body["overflow"] != DROP_OLDEST:
        if len(prompt.tokens) > room:
            raise _overflow(len(prompt.tokens) + begun, live)
        return _Fitted(prompt, entries.entries)
    limit = room - _reserve(body, live)
    if len(prompt.tokens) <= limit:
        return _Fitted(prompt, entries.entries)
    return await _without_oldest(live, entries.entries, tools, limit, room)


def _reserve(body: Mapping[str, Json], live: Live) -> int:
    """Return how many tokens are kept free for the answer."""
    asked = body["max_tokens"] or live.context_tokens // 4
    return int(min(asked, live.context_tokens // 2))


async def _without_oldest(
    live: Live, entries: Sequence[Entry], tools: Sequence[Json], limit: int, room: int
) -> _Fitted:
    first, units = units_of(entries)
    sizes = await _sizes(live, entries)
    lead = sum(sizes[:first])
    counted = iter(sizes[first:])
    of_units = [sum(next(counted) for _ in unit) for unit in units]
    dropped = to_drop(of_units, limit - lead)
    while True:
        kept = [*entries[:first], *(entry for unit in units[dropped:] for entry in unit)]
        prompt = await live.renderer.render(kept, tools)
        if len(prompt.tokens) <= room:
            break
        if dropped >= len(units) - 1:
            raise _overflow(len(prompt.tokens), live)
        dropped += 1
    gone = [about for unit in units[:dropped] for entry in unit for about in entry.about]
    notes = tuple(Note(about, "dropped: the conversation is longer than the model reads") for about in gone)
    return _Fitted(prompt, kept, notes)


async def _sizes(live: Live, entries: Sequence[Entry]) -> list[int]:
    """Return about how many tokens each entry is."""
    listed: list[str | int] = []
    for number, entry in enumerate(entries):
        listed.append(-1 - number)
        if entry.pieces:
            listed += [piece for piece in entry.pieces if isinstance(piece, str)]
        else:
            listed += [str(value) for value in (*entry.fields.values(), *entry.plain.values())]
    tokens = await live.client.tokenize_mixed(listed, add_special=False, parse_special=False)
    sizes = [
        PER_MESSAGE + sum(len(piece.ids) for piece in entry.pieces if isinstance(piece, Answered))
        for entry in entries
    ]
    at = 0
    for token in tokens:
        if token < 0:
            at = -1 - token
        else:
            sizes[at] += 1
    return sizes


def _overflow(tokens: int, live: Live) -> ContextOverflow:
    return ContextOverflow(
        f"the conversation has {tokens} tokens and the model reads {live.context_tokens}:"
        " write a message with a summary, fork at an earlier message, ask with the parameter"
        ' overflow="drop_oldest", or start the model with a larger context',
        prompt_tokens=tokens,
        context_tokens=live.context_tokens,
    )


# What is told


def _told(
    live: Live, body: Mapping[str, Json], entries: Entries, fitted: _Fitted, use: Use | None
) -> dict[str, Json]:
    prompt = fitted.prompt
    notes = [*entries.repairs, *_retokenized(fitted)]
    gone = {note.about for note in fitted.left_out}
    reused: dict[str, Json] = {"prompt_tokens": len(prompt.tokens), "answers_by_token": prompt.exact}
    if use is not None:
        reused["kv_tokens"] = use.common
        if use.checkpoint is not None:
            reused["kv_checkpoint"] = use.checkpoint.id
    return {
        "space": live.space,
        "model": live.model,
        "digest": digest_of(prompt.tokens, bytes.fromhex(body["salt"])).hex(),
        "has_reasoning": live.has_reasoning,
        "has_tools": bool(body["tools"]),
        "is_thinking": live.has_reasoning and prompt.tail.rstrip().endswith(THINK),
        "left_out": [note.as_json() for note in fitted.left_out],
        "repairs": [note.as_json() for note in notes if note.about not in gone],
        "reused": reused,
    }


def _retokenized(fitted: _Fitted) -> list[Note]:
    return [
        Note(about, "tokenized again: the template leaves no place for its tokens")
        for place in sorted(fitted.prompt.retokenized)
        for about in fitted.entries[place].about
        if fitted.entries[place].pieces
    ]
