"""
From a log to a request of the Messages API. Pure.

One turn of the log is one message of the request: the API joins those of one role itself, and
what was sent before stays a prefix. Reasoning of the models that bind it goes back only where
the digest of the request before it is the one that it was made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import partial
from itertools import groupby
from typing import Any, Final

from adapters.anthropic.answers import CONTAINER, REDACTED, THINKING, Answers, safe_id, safe_name
from adapters.anthropic.blocks import Blocks
from adapters.anthropic.cache import with_points
from adapters.anthropic.models import binds_prefix, max_tokens_of, takes_system_anywhere
from adapters.exchange import Hidden, Note, Report, Request, Tool
from adapters.normalize import Head, Progress, Turn, Writer, with_offered
from adapters.prefix import Chain, salt_of
from adapters.remote import params_of
from adapters.spaces import Place, may_go, sent_field
from crdt_conv import HiddenField, Message, Target

VERSION: Final = "anthropic/1"
PATH: Final = "/v1/messages"
API_VERSION: Final = "2023-06-01"
BINDING_BETA: Final = "thinking-binding-controls-2026-08-01"
JOINT: Final = "\n\n"

KEPT_BACK: Final = frozenset({"betas", "cache_points", "system"})
"""Parameters of a run that are no keys of the body: beta features, and how many cache points at most."""
CACHE_POINTS: Final = 3


def materialize(
    log: Sequence[Message],
    target: Target,
    tools: Sequence[Tool],
    hidden: Hidden,
    *,
    place: Place,
    progress: Progress[MessagesWriter] | None = None,
) -> tuple[Request, Report]:
    """
    Return the request that asks for the next answer, and what became of the log.

    Raises:
        NothingToAnswer: The log does not end with something to answer.
    """
    writer, turns = (progress or Progress()).follow(
        log,
        (place, hidden.refused, list(tools)),
        hidden,
        lambda head: MessagesWriter(place, hidden, tools, head),
    )
    turns.check_answerable(is_pause_answerable=True)
    messages = writer.written
    params, refused = params_of(target, kept_back=KEPT_BACK)
    params, repairs = _params(params, messages, place)
    container = writer.container()
    body = {"model": place.model, **writer.head, "messages": messages, **params, "stream": True}
    body = {**container, **body}
    wanted = target.params.get("cache_points", CACHE_POINTS)
    body, points = with_points(body, wanted if isinstance(wanted, int) else CACHE_POINTS)
    own = [note for note in refused if note.about not in ("betas", "cache_points")]
    report = Report(
        VERSION,
        turns.sent,
        (*turns.left_out, *writer.left_out, *own),
        (*turns.repairs, *repairs),
        tuple(writer.sent),
        {**({"cache_points": points} if points else {}), **container},
    )
    headers = _headers(target, params)
    return Request(PATH, body, headers=headers, prefix=writer.prefix, salt=partial(salt_of, log)), report


class MessagesWriter(Writer):
    """Writes the messages of one request, and keeps the digest of what is written."""

    def __init__(self, place: Place, hidden: Hidden, tools: Sequence[Tool], head: Head) -> None:
        offered, notes = with_offered(head.tools, tuple(tools))
        definitions, foreign = _tools(offered)
        lead = JOINT.join(turn.text for turn in head.lead if turn.text)
        self.head = {
            **({"system": [{"type": "text", "text": lead}]} if lead else {}),
            **({"tools": definitions} if definitions else {}),
        }
        # Of other models nothing is bound to what stands before it.
        self._chain = Chain(self.head) if binds_prefix(place.model) else None
        self._container: tuple[Message, HiddenField] | None = None
        self._dropped: set[str] = set()
        super().__init__(place, hidden)
        self.left_out += [*notes, *foreign]

    def use(self, hidden: Hidden) -> None:
        """Ask these for hidden fields and blobs from here on."""
        super().use(hidden)
        self._blocks = Blocks(self._place, hidden, self.left_out)
        self._answers = Answers(self._place, hidden, self.left_out, self.sent, self._dropped)

    def detach(self) -> None:
        """Go on with lists of its own."""
        self._chain, self._dropped = copy(self._chain), set(self._dropped)
        super().detach()

    @property
    def prefix(self) -> str | None:
        """The digest of all that is written, for models that bind to it."""
        return self._chain.value if self._chain is not None else None

    def add(self, turn: Turn, before: str, after: str) -> None:
        """Write a turn between two others."""
        message = self._message(turn, before, after or "assistant")
        if message is not None:
            if message["role"] == "system" == (self.written[-1]["role"] if self.written else ""):
                # Behind a user's message one may stand alone.
                message = {**message, "content": self.written.pop()["content"] + message["content"]}
            self.written.append(message)
            if self._chain is not None:
                self._chain.add(message, _sources(turn))
        elif turn.role == "assistant" and self.written and self.written[-1]["role"] == "system":
            # Nothing of the answer goes, and behind a system message nothing else may stand.
            said = "".join(block["text"] for block in self.written[-1]["content"])
            self.written[-1] = _told(said)
        if turn.message is not None and turn.message.hidden_count:
            for field in self._hidden.of_message(turn.message):
                if field.kind == CONTAINER:
                    self._container = turn.message, field

    def _message(self, turn: Turn, before: str, after: str) -> dict[str, Any] | None:
        if turn.role == "system":
            is_own = before in ("user", "tool") and after == "assistant"
            return self._system(turn, is_own=is_own and takes_system_anywhere(self._place.model))
        if turn.role == "assistant":
            content = self._answers.content_of(turn, self.prefix)
            return {"role": "assistant", "content": content} if content else None
        if turn.role == "tool":
            results = [
                self._blocks.of_result(result, safe_id(result.call_id))
                for result in turn.results
                if result.call_id not in self._dropped
            ]
            return {"role": "user", "content": results} if results else None
        blocks = [self._blocks.of(block) for block in turn.blocks]
        return {"role": "user", "content": [b for b in blocks if str(b.get("text", "x")).strip()]}

    def _system(self, turn: Turn, *, is_own: bool) -> dict[str, Any] | None:
        if is_own:
            return {"role": "system", "content": [self._blocks.of(block) for block in turn.blocks]}
        return _told(turn.text) if turn.text else None

    def container(self) -> dict[str, Any]:
        """Return the newest container, if the provider still holds it."""
        if self._container is None:
            return {}
        message, field = self._container
        if not isinstance(field.data, str) or not may_go(field, message, self._place, self._hidden):
            return {}
        self.sent.append(sent_field(message.id, field))
        return {"container": field.data}


def _told(text: str) -> dict[str, Any]:
    """Return a system message as the user's."""
    told = f"<system_message>\n{text}\n</system_message>"
    return {"role": "user", "content": [{"type": "text", "text": told}]}


def _sources(turn: Turn) -> list[Message]:
    if turn.role == "tool":
        return [result.message for result in turn.results if result.message is not None]
    return [turn.message] if turn.message is not None else []


def _params(
    params: dict[str, Any], messages: Sequence[dict[str, Any]], place: Place
) -> tuple[dict[str, Any], list[Note]]:
    """Return what a run asks for, as this request can have it."""
    thinking = params.get("thinking")
    params = {"max_tokens": max_tokens_of(place.model, thinking), **params}
    is_manual = isinstance(thinking, dict) and thinking.get("type") == "enabled"
    if is_manual and _lacks_thought(messages):
        params["thinking"] = {"type": "disabled"}
        reason = "off until the open calls are answered: they came without reasoning of this model"
        return params, [Note("thinking", reason)]
    return params, []


def _lacks_thought(messages: Sequence[dict[str, Any]]) -> bool:
    """Whether results are to be read whose calls came without reasoning: the API refuses that (3.4, 9)."""
    # The API joins messages of one role: what counts is the last run of answers, and what stands behind it.
    runs = [list(run) for _, run in groupby(messages, key=lambda m: m["role"] == "assistant")]
    if len(runs) < 2 or runs[-1][0]["role"] == "assistant":
        return False
    is_open = any(block["type"] == "tool_result" for message in runs[-1] for block in message["content"])
    return is_open and runs[-2][0]["content"][0]["type"] not in (THINKING, REDACTED)


def _headers(target: Target, params: dict[str, Any]) -> dict[str, str]:
    asked = target.params.get("betas")
    betas = [beta for beta in asked if isinstance(beta, str)] if isinstance(asked, list) else []
    thinking = params.get("thinking")
    if isinstance(thinking, dict) and "block_binding" in thinking and BINDING_BETA not in betas:
        betas.append(BINDING_BETA)
    return {"anthropic-beta": ",".join(betas)} if betas else {}


def _tools(offered: Sequence[Tool]) -> tuple[list[dict[str, Any]], list[Note]]:
    written: list[dict[str, Any]] = []
    notes: list[Note] = []
    for tool in offered:
        if "anthropic" in tool.native:
            written.append(dict(tool.native["anthropic"]))
        elif tool.parameters is not None:
            described = {"description": tool.description} if tool.description is not None else {}
            strict = {"strict": tool.strict} if tool.strict is not None else {}
            schema = {"type": "object", **tool.parameters}
            written.append({"name": safe_name(tool.name), **described, "input_schema": schema, **strict})
        else:
            notes.append(Note(tool.name, "a tool that only another provider has"))
    return written, notes
