"""
From a log to a request of the Responses API. Pure.

Output items go back whole and in order, or without what binds them: the API refuses an item whose
id names a pair of which the other half is missing (facts, 2.5). Where the provider still holds an
answer, and the log before it is the one that it answered, the request names it and holds only what is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import partial
from typing import Any, Final

from adapters.exchange import Hidden, Note, Report, Request, Tool
from adapters.normalize import Progress, Result, Turn, Writer, with_offered
from adapters.openai_responses.answers import Answers
from adapters.openai_responses.content import Contents
from adapters.openai_responses.kinds import CUSTOM, RESPONSE
from adapters.prefix import Chain, salt_of
from adapters.remote import params_of
from adapters.spaces import Place, may_go, sent_field
from crdt_conv import HiddenField, Message, Target

VERSION: Final = "openai-responses/1"
PATH: Final = "/responses"
JOINT: Final = "\n\n"
ENCRYPTED: Final = "reasoning.encrypted_content"

KEPT_BACK: Final = frozenset({"input", "instructions", "previous_response_id", "stateful"})
"""What is written here; ``stateful`` is a parameter of ours."""


def materialize(
    log: Sequence[Message],
    target: Target,
    tools: Sequence[Tool],
    hidden: Hidden,
    *,
    place: Place,
    progress: Progress[ResponsesWriter] | None = None,
) -> tuple[Request, Report]:
    """
    Return the request that asks for the next answer, and what became of the log.

    Raises:
        NothingToAnswer: The log does not end with something to answer.
    """
    params, refused = params_of(target, kept_back=KEPT_BACK)
    if "max_tokens" in params:
        params.setdefault("max_output_tokens", params.pop("max_tokens"))
    is_stateful = _is_stateful(target, params, place)
    writer, turns = (progress or Progress()).follow(
        log,
        (place, hidden.refused, is_stateful),
        hidden,
        lambda _: ResponsesWriter(place, hidden, is_stateful=is_stateful),
    )
    turns.check_answerable()
    offered, notes = with_offered(turns.tools, tuple(tools))
    definitions, foreign = _tools(offered, place)
    lead = JOINT.join(turn.text for turn in turns.lead if turn.text)
    body: dict[str, Any] = {
        "model": place.model,
        **({"instructions": lead} if lead else {}),
        "input": writer.written,
        **writer.handle,
        **({"tools": definitions} if definitions else {}),
        "stream": True,
        **_include(params, place),
        **params,
    }
    own = [note for note in refused if note.about != "stateful"]
    report = Report(
        VERSION,
        turns.sent,
        (*turns.left_out, *notes, *writer.left_out, *foreign, *own),
        turns.repairs,
        tuple(writer.sent),
        {"previous_response": handle} if (handle := writer.handle.get("previous_response_id")) else {},
    )
    return Request(PATH, body, prefix=writer.prefix, salt=partial(salt_of, log)), report


def is_holding(place: Place) -> bool:
    """Whether a provider is known to hold answers: others take a handle and ignore it without a word."""
    return place.space == "openai" or place.space.startswith("azure:")


def _is_stateful(target: Target, params: dict[str, Any], place: Place) -> bool:
    wanted = target.params.get("stateful")
    if params.get("store") is False or "conversation" in params:
        return False
    return wanted is True or (wanted is not False and is_holding(place))


def _include(params: dict[str, Any], place: Place) -> dict[str, Any]:
    """Ask for sealed reasoning where it can come: a handle may be lost, and then all of it is sent again."""
    asked = params.pop("include", None)
    include = [name for name in asked if isinstance(name, str)] if isinstance(asked, list) else []
    if is_holding(place) and ENCRYPTED not in include:
        include.append(ENCRYPTED)
    return {"include": include} if include else {}


class ResponsesWriter(Writer):
    """Writes the input of one request, and keeps the digest of what is written."""

    def __init__(self, place: Place, hidden: Hidden, *, is_stateful: bool) -> None:
        self.handle: dict[str, str] = {}
        self._is_stateful = is_stateful
        # Instructions and tools are sent each time: what a handle stands for holds neither.
        self._chain = Chain({})
        self._custom: set[str] = set()
        super().__init__(place, hidden)

    def use(self, hidden: Hidden) -> None:
        """Ask these for hidden fields and blobs from here on."""
        super().use(hidden)
        self._contents = Contents(self._place, hidden, self.left_out)
        self._answers = Answers(self._place, hidden, self.left_out, self.sent, self._custom)

    def detach(self) -> None:
        """Go on with lists of its own."""
        self._chain, self._custom = copy(self._chain), set(self._custom)
        super().detach()

    @property
    def prefix(self) -> str:
        """The digest of all that is written, also of what the provider holds."""
        return self._chain.value

    def add(self, turn: Turn, before: str, after: str) -> None:
        """Write a turn; what stands beside it makes no difference."""
        del before, after
        handle = self._handle(turn) if self._is_stateful and turn.role == "assistant" else None
        items = self._items(turn)
        self._chain.add(items, _sources(turn))
        if handle is None or turn.message is None:
            self.written += items
            return
        # All of it is there, and this answer with it.
        self.handle = {"previous_response_id": str(handle.data)}
        self.sent[:] = [sent_field(turn.message.id, handle)]
        self.written.clear()

    def _items(self, turn: Turn) -> list[dict[str, Any]]:
        match turn.role:
            case "assistant":
                return self._answers.items_of(turn)
            case "tool":
                return [self._result(result) for result in turn.results]
            case "system":
                return [{"role": "developer", "content": turn.text}] if turn.text else []
            case _:
                content = self._contents.of_turn(turn)
                return [{"role": "user", "content": content}] if content else []

    def _result(self, result: Result) -> dict[str, Any]:
        kind = CUSTOM if result.call_id in self._custom else "function_call"
        output = self._contents.of_result(result)
        return {"type": f"{kind}_output", "call_id": result.call_id, "output": output}

    def _handle(self, turn: Turn) -> HiddenField | None:
        """Return the name under which the provider holds all up to an answer, if it holds just that."""
        message = turn.message
        if message is None or message.status != "complete":
            return None
        for field in self._hidden.of_message(message):
            if field.kind != RESPONSE or not isinstance(field.data, str):
                continue
            told = may_go(field, message, self._place, self._hidden)
            reason = told.reason
            if told and field.prefix != self._chain.value:
                reason = "the conversation before it is not the one that it stands for"
            if not reason:
                return field
            self.left_out.append(Note(message.id, f"{field.kind}: {reason}"))
        return None


def _sources(turn: Turn) -> list[Message]:
    if turn.role == "tool":
        return [result.message for result in turn.results if result.message is not None]
    return [turn.message] if turn.message is not None else []


def _tools(offered: Sequence[Tool], place: Place) -> tuple[list[dict[str, Any]], list[Note]]:
    written: list[dict[str, Any]] = []
    notes: list[Note] = []
    for tool in offered:
        native = tool.native.get("openai-responses") or tool.native.get(place.provider)
        if native is not None:
            written.append(dict(native))
        elif tool.parameters is not None:
            described = {"description": tool.description} if tool.description is not None else {}
            # Left out, it would be true here, and refuse schemas that other providers take.
            strict = {"strict": tool.strict if tool.strict is not None else False}
            written.append(
                {
                    "type": "function",
                    "name": tool.name,
                    **described,
                    "parameters": dict(tool.parameters),
                    **strict,
                }
            )
        else:
            notes.append(Note(tool.name, "a tool that only another provider has"))
    return written, notes
