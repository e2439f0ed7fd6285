"""
One answer: the calls to ``/completion`` that it takes, as one stream of events.

Usually it is one call. Where the model begins a tool call, the rest of that call is
generated within the tool's JSON Schema, in a call of its own that goes on from the
tokens so far. And where the server dies in the middle, the next one goes on from the
tokens that had come: nothing is repeated, nothing lost. What is generated within a
schema begins there anew, since a grammar knows no middle, and has to come out the same
as far as it was shown; its seed is fixed for that.

Events: ``{"content", "tokens"}`` as they come, then one ``{"end": {…}}``. Tokens go out with
the text they are part of, so those of a word that it stops at don't. ``dropped`` says how many
of the last ones do not count any more.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

from adapters.errors import AdapterError, StreamBroken
from adapters.llamacpp.toolcalls import BEGIN_CALL, END_CALL, OPEN, call_schema

Json: TypeAlias = Any

MAX_RECOVERIES: Final = 3
"""How often in a row a server may die before another token comes."""
MAX_CALLS: Final = 16
BETWEEN_CALLS: Final = 8
"""Tokens in which another call has to begin."""

_CONTROL = ("<tool_call>", "</tool_call>", "<think>", "</think>")


class CompletionServer(Protocol):
    """What is asked of a server."""

    def stream(self, path: str, body: Mapping[str, Json]) -> AsyncGenerator[dict[str, Json], None]:
        """Post a request, and yield the events of its answer."""

    async def tokenize_mixed(
        self, content: Sequence[str | int], *, add_special: bool, parse_special: bool
    ) -> list[int]:
        """Return the ids of texts one after another."""

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What is asked for.

    ``choice`` is ``auto``, ``none``, ``required`` or a tool's name; ``slot`` where the server shall
    compute, or nothing for any; ``max_tokens`` nothing for as many as fit. ``begun`` are tokens that
    the answer begins with.
    """

    prompt: tuple[int, ...]
    sampling: Mapping[str, Json] = field(default_factory=dict)
    tools: Sequence[Mapping[str, Json]] = ()
    choice: str = "auto"
    is_parallel: bool = True
    schema: Json = None
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    slot: int | None = None
    begun: tuple[int, ...] = ()


@dataclass(slots=True)
class _Phase:
    """What is generated under one rule: its text, and the last event."""

    text: str = ""
    last: Mapping[str, Json] = field(default_factory=dict)

    @property
    def stop_type(self) -> str:
        """Why it stopped, in llama.cpp's word."""
        return str(self.last.get("stop_type", ""))

    @property
    def stopped_at(self) -> str:
        """The word that it stopped at, if it was one."""
        return str(self.last.get("stopping_word", "")) if self.stop_type == "word" else ""


class Generation:
    """Generates one answer."""

    def __init__(
        self,
        server: CompletionServer,
        wanted: Wanted,
        recover: Callable[[Sequence[int]], Awaitable[tuple[CompletionServer, int | None]]] | None = None,
    ) -> None:
        """
        Prepare; nothing is sent yet.

        Args:
            server: Who generates.
            wanted: What.
            recover: Waits for the server to come back, and returns it and the slot to use for going on
                behind these ids; without it, a server that dies ends the answer.
        """
        self._server = server
        self._wanted = wanted
        self._slot = wanted.slot
        self._recover = recover
        self._is_whole = False
        self._timings: dict[str, float] = {}
        self.ids: list[int] = list(wanted.begun)
        """The ids of the answer so far; with those of the prompt, what the slot holds."""
        self.cached: int | None = None
        """How many tokens of the prompt the server had, at the first call."""
        self.has_begun = False
        """Whether the server has computed the prompt."""
        self.recoveries = 0
        self.is_exact = True
        """Whether every id is the server's own, and none was found by its text."""

    @property
    def held(self) -> tuple[int, ...]:
        """The ids whose state the server has: a token is computed when the next one is asked for."""
        return tuple(self.ids if self._is_whole else self.ids[:-1])

    async def events(self) -> AsyncGenerator[dict[str, Json], None]:
        """
        Yield the events.

        Raises:
            AdapterError: It was refused, or broke off for good.
        """
        wanted, phase, calls = self._wanted, _Phase(), 0
        is_forced = bool(wanted.tools) and wanted.choice not in {"auto", "none"}
        if wanted.begun:
            text = await self._server.detokenize(wanted.begun)
            yield {"content": text, "tokens": list(wanted.begun)}
        if not is_forced:
            async with aclosing(self._phase(phase, wanted.schema, self._stops())) as events:
                async for event in events:
                    yield event
        while is_forced or (wanted.tools and phase.stopped_at == OPEN and calls < MAX_CALLS):
            is_forced = False
            phase, calls = _Phase(), calls + 1
            async with aclosing(self._call(phase)) as events:
                async for event in events:
                    yield event
            if phase.stop_type != "eos" or not wanted.is_parallel:
                break
            phase = await self._next_call()
        self._is_whole = phase.stop_type == "eos"
        yield {"end": self._end(phase, calls)}

    async def _call(self, phase: _Phase) -> AsyncGenerator[dict[str, Json], None]:
        """Yield a call, from its first word to its last."""
        wanted = self._wanted
        only = wanted.choice if wanted.choice not in {"auto", "required", "none"} else None
        yield await self._put(BEGIN_CALL)
        async with aclosing(self._phase(phase, call_schema(wanted.tools, only), ())) as events:
            async for event in events:
                yield event
        if phase.stop_type == "eos":
            yield await self._put(END_CALL)

    async def _next_call(self) -> _Phase:
        """See whether the model begins another call at once; what else it says is not kept."""
        phase = _Phase()
        before = len(self.ids)
        async for _ in self._phase(phase, None, (OPEN,), at_most=BETWEEN_CALLS):
            pass
        is_call = phase.stopped_at == OPEN and not phase.text.strip()
        del self.ids[before:]
        return phase if is_call else _Phase(last={"stop_type": "eos"})

    async def _put(self, text: str) -> dict[str, Json]:
        """Write text of ours into the answer, as if the model had."""
        ids = await self._server.tokenize_mixed([text], add_special=False, parse_special=True)
        self.ids += ids
        return {"content": text, "tokens": ids}

    # One call to the server

    async def _phase(
        self, phase: _Phase, schema: Json, stops: Sequence[str], *, at_most: int | None = None
    ) -> AsyncGenerator[dict[str, Json], None]:
        """Yield what the server generates, on one server or several."""
        start, seed, failures = len(self.ids), secrets.randbelow(2**31), 0
        shown = _Shown()
        while True:
            if schema is not None:
                # From its beginning, also for the second time: see above.
                del self.ids[start:]
                phase.text = ""
            body = self._body(schema, stops, seed, at_most)
            if body is None:
                phase.last = {"stop_type": "limit"}
                return
            try:
                async with aclosing(self._once(phase, body)) as events:
                    async for event in events:
                        if (new := shown.new(event, phase, self.ids[start:])) is not None:
                            failures = 0
                            yield new
            except _CameOutOtherwise:
                raise
            except AdapterError as error:
                failures += 1
                if self._recover is None or not error.is_retryable or failures > MAX_RECOVERIES:
                    raise
                self.recoveries += 1
                self._server, self._slot = await self._recover(self.ids)
            else:
                return

    async def _once(self, phase: _Phase, body: Mapping[str, Json]) -> AsyncGenerator[dict[str, Json], None]:
        """Yield what comes of one request, and take it into the answer."""
        waiting, last = _Waiting(), _Waiting()
        async with aclosing(self._server.stream("/completion", body)) as events:
            async for event in events:
                self.has_begun = True
                waiting.add(event)
                if waiting.text:
                    yield await self._taken(phase, waiting)
                    last, waiting = waiting, _Waiting(seen=waiting.seen)
                if event.get("stop") is True:
                    phase.last = event
                    self._count(event)
        if phase.stopped_at and (cut := await self._cut(last)) is not None:
            yield cut

    async def _cut(self, last: _Waiting) -> dict[str, Json] | None:
        """Return what has to be taken back: tokens that begin in the text and end in the stop word."""
        if not last.taken or await self._server.detokenize(last.taken) == last.text:
            return None
        found = await self._server.tokenize_mixed([last.text], add_special=False, parse_special=True)
        self.ids[-len(last.taken) :] = found
        return {"content": "", "tokens": found, "dropped": len(last.taken)}

    def _body(
        self, schema: Json, stops: Sequence[str], seed: int, at_most: int | None
    ) -> dict[str, Json] | None:
        """Return the request; nothing where no token is left to be asked for."""
        wanted = self._wanted
        left = None if wanted.max_tokens is None else wanted.max_tokens - len(self.ids)
        limits = [limit for limit in (left, at_most) if limit is not None]
        if limits and min(limits) <= 0:
            return None
        body: dict[str, Json] = {
            **wanted.sampling,
            "prompt": [*wanted.prompt, *self.ids],
            "stream": True,
            "return_tokens": True,
            "cache_prompt": True,
            "preserved_tokens": list(_CONTROL),
        }
        if limits:
            body["n_predict"] = min(limits)
        if stops:
            body["stop"] = list(stops)
        if schema is not None:
            body = {"seed": seed, **body, "json_schema": schema}
        if self._slot is not None:
            body["id_slot"] = self._slot
        return body

    async def _taken(self, phase: _Phase, waiting: _Waiting) -> dict[str, Json]:
        """Return what has come as an event, and make it part of the answer."""
        ids = waiting.ids
        if waiting.missing:
            # A server tells of no token in whose middle a character ends.
            ids = await self._server.tokenize_mixed([waiting.text], add_special=False, parse_special=True)
            self.is_exact &= _is_within(waiting.ids, ids, len(waiting.ids) + waiting.missing)
        self.ids += ids
        phase.text += waiting.text
        waiting.taken = ids
        return {"content": waiting.text, "tokens": ids}

    def _stops(self) -> tuple[str, ...]:
        wanted = self._wanted
        return (*wanted.stop, OPEN) if wanted.tools and wanted.choice != "none" else wanted.stop

    # The end

    def _count(self, event: Mapping[str, Json]) -> None:
        timings = event.get("timings")
        if not isinstance(timings, dict):
            return
        if self.cached is None and isinstance(timings.get("cache_n"), int):
            self.cached = timings["cache_n"]
        for key in ("prompt_n", "prompt_ms", "predicted_n", "predicted_ms"):
            if isinstance(timings.get(key), int | float):
                self._timings[key] = self._timings.get(key, 0) + timings[key]

    def _end(self, phase: _Phase, calls: int) -> dict[str, Json]:
        return {
            "stop_type": phase.stop_type or "none",
            "stopping_word": phase.stopped_at,
            "is_full": phase.last.get("truncated") is True,
            "calls": calls,
            "input_tokens": len(self._wanted.prompt),
            "output_tokens": len(self.ids),
            "cached_tokens": self.cached,
            "timings": {key: round(value, 3) for key, value in self._timings.items()},
            "recoveries": self.recoveries,
            "is_exact": self.is_exact,
        }


@dataclass(slots=True)
class _Waiting:
    """
    Tokens that came and are no text yet, and the text that is.

    ``missing`` counts tokens that the server did not tell of, ``seen`` all that it told of
    since its call began; ``taken`` are the tokens that the text was taken for.
    """

    ids: list[int] = field(default_factory=list)
    text: str = ""
    missing: int = 0
    seen: int = 0
    taken: list[int] = field(default_factory=list)

    def add(self, event: Mapping[str, Json]) -> None:
        """Take in an event."""
        tokens, predicted = event.get("tokens"), event.get("tokens_predicted")
        ids = [token for token in tokens if isinstance(token, int)] if isinstance(tokens, list) else []
        if isinstance(predicted, int) and event.get("stop") is not True:
            self.missing += max(0, predicted - self.seen - len(ids))
            self.seen = max(predicted, self.seen + len(ids))
        self.ids += ids
        self.text += str(event.get("content", ""))


class _CameOutOtherwise(StreamBroken):
    """What was shown is not what comes now: another try would not bring it back."""


@dataclass(slots=True)
class _Shown:
    """What went out of a phase, so that nothing goes out twice when a schema's text begins anew."""

    text: str = ""
    count: int = 0

    def new(self, event: dict[str, Json], phase: _Phase, ids: Sequence[int]) -> dict[str, Json] | None:
        """Return what of an event is new; nothing while it repeats what went out."""
        if len(phase.text) - len(event["content"]) == len(self.text):
            self.text = phase.text
            self.count = len(ids)
            return event
        if not (phase.text.startswith(self.text) or self.text.startswith(phase.text)):
            raise _CameOutOtherwise("the answer broke off, and what is bound to a schema came out otherwise")
        if len(phase.text) < len(self.text):
            return None
        new = {"content": phase.text[len(self.text) :], "tokens": list(ids), "dropped": self.count}
        self.text, self.count = phase.text, len(ids)
        return new


def _is_within(some: Sequence[int], ids: Sequence[int], count: int) -> bool:
    """Whether ids are so many, and these are among them in their order."""
    rest = iter(ids)
    return len(ids) == count and all(token in rest for token in some)
