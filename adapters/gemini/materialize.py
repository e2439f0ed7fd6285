"""
From a log to a request of ``streamGenerateContent``. Pure.

A signature goes back on the part that it came with, or nowhere. Calls that were not signed here get
Google's word for that, on models that ask for one, always: a request that goes on keeps its prefix. Answers
in a row are one content, since a call must stand right behind the user's turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from adapters.exchange import Hidden, Note, Report, Request, Tool
from adapters.gemini.kinds import DUMMY, PART, SIGNATURE
from adapters.gemini.media import Media
from adapters.normalize import Block, Progress, Result, Turn, Writer, with_offered
from adapters.prefix import salt_of
from adapters.remote import is_json, params_of
from adapters.spaces import Place, may_go, sent_field
from crdt_conv import HiddenField, Message, Target

VERSION: Final = "gemini/1"
JOINT: Final = "\n\n"

KEPT_BACK: Final = frozenset({"contents", "systemInstruction"})
_UNSIGNED: Final = re.compile(r"gemini-(1|2)\b")
"""Models that don't look whether a call is signed."""
_NAME: Final = re.compile(r"[^a-zA-Z0-9_.:-]")
_MODEL: Final = re.compile(r"/models/(.+):streamGenerateContent")


def materialize(
    log: Sequence[Message],
    target: Target,
    tools: Sequence[Tool],
    hidden: Hidden,
    *,
    place: Place,
    progress: Progress[GenerateWriter] | None = None,
) -> tuple[Request, Report]:
    """
    Return the request that asks for the next answer, and what became of the log.

    Raises:
        NothingToAnswer: The log does not end with something to answer.
    """
    writer, turns = (progress or Progress()).follow(
        log, (place, hidden.refused), hidden, lambda _: GenerateWriter(place, hidden)
    )
    turns.check_answerable()
    offered, notes = with_offered(turns.tools, tuple(tools))
    definitions, foreign = _tools(offered)
    params, refused = params_of(target, kept_back=KEPT_BACK)
    lead = JOINT.join(turn.text for turn in turns.lead if turn.text)
    body: dict[str, Any] = {
        **({"systemInstruction": {"parts": [{"text": lead}]}} if lead else {}),
        "contents": writer.written,
        **({"tools": definitions} if definitions else {}),
        **_config(params),
    }
    report = Report(
        VERSION,
        turns.sent,
        (*turns.left_out, *notes, *writer.left_out, *foreign, *refused),
        (*turns.repairs, *writer.repairs),
        tuple(writer.sent),
    )
    path = f"/models/{place.model}:streamGenerateContent?alt=sse"
    return Request(path, body, salt=partial(salt_of, log)), report


def model_of(request: Request) -> str | None:
    """Return the model that a request is for."""
    found = _MODEL.match(request.path)
    return found[1] if found else None


def _config(params: dict[str, Any]) -> dict[str, Any]:
    """Return parameters with the plain ones where Gemini has them."""
    names = {"max_tokens": "maxOutputTokens", "temperature": "temperature", "top_p": "topP", "seed": "seed"}
    plain = {names[key]: params.pop(key) for key in tuple(params) if key in names}
    given = params.get("generationConfig")
    config = {**plain, **(given if isinstance(given, dict) else {})}
    return {**params, **({"generationConfig": config} if config else {})}


class GenerateWriter(Writer):
    """Writes the contents of one request."""

    def __init__(self, place: Place, hidden: Hidden) -> None:
        super().__init__(place, hidden)
        self._wants_signatures = not _UNSIGNED.match(place.model)

    def use(self, hidden: Hidden) -> None:
        """Ask these for hidden fields and blobs from here on."""
        super().use(hidden)
        self._media = Media(hidden, self.left_out)

    def add(self, turn: Turn, before: str, after: str) -> None:
        """Write a turn; answers in a row are one content."""
        del before, after
        role = "model" if turn.role == "assistant" else "user"
        parts = self._parts(turn)
        if parts and self.written and self.written[-1]["role"] == role == "model":
            # No fork that is sent holds this list as its last: no request ends with an answer.
            self.written[-1]["parts"] += parts
        elif parts:
            self.written.append({"role": role, "parts": parts})

    def _parts(self, turn: Turn) -> list[dict[str, Any]]:
        match turn.role:
            case "assistant":
                return self._answer(turn)
            case "tool":
                return [self._response(result) for result in turn.results]
            case "system":
                text = f"<system_message>\n{turn.text}\n</system_message>"
                return [{"text": text}] if turn.text else []
            case _:
                parts = [self._said(block) for block in turn.blocks]
                return [part for part in parts if part]

    def _said(self, block: Block) -> dict[str, Any]:
        if block.type == "media":
            return self._media.part_of(block)
        if block.type == "opaque":
            own = self._own(block)
            return own or {"text": "[something that only another provider can show]"}
        return {"text": block.text} if block.text else {}

    def _own(self, block: Block) -> dict[str, Any] | None:
        field = self._valid(block.message).get(block.part.id)
        own = json.loads(str(field.data)) if field is not None and is_json(field.data) else None
        return own if isinstance(own, dict) else None

    def _response(self, result: Result) -> dict[str, Any]:
        files = [self._media.part_of(block) for block in result.media]
        media = [part for part in files if "text" not in part]
        response = {
            "id": result.call_id,
            "name": safe_name(result.name),
            "response": _answered(result),
            **({"parts": media} if media else {}),
        }
        return {"functionResponse": response}

    def _answer(self, turn: Turn) -> list[dict[str, Any]]:
        assert turn.message is not None
        fields = self._valid(turn.message)
        written: list[dict[str, Any]] = []
        for block in turn.blocks:
            part = self._written(block, fields.get(block.part.id))
            if part is not None:
                written.append(part)
        self._sign(turn.message, written)
        self.sent += [sent_field(turn.message.id, field) for field in fields.values()]
        if all(part.get("text") == "" for part in written):
            self.left_out.append(Note(turn.message.id, "nothing in it can be sent to this provider"))
            return []
        return written

    def _valid(self, message: Message) -> dict[str, HiddenField]:
        """Return the fields that may go along, by the part they belong to."""
        valid: dict[str, HiddenField] = {}
        for field in self._hidden.of_message(message):
            told = may_go(field, message, self._place, self._hidden)
            reason = told.reason or ("" if field.kind in (SIGNATURE, PART) else "Gemini has no place for it")
            if reason:
                self.left_out.append(Note(message.id, f"{field.kind}: {reason}"))
            elif field.at is not None:
                valid[field.at] = field
        return valid

    def _written(self, block: Block, field: HiddenField | None) -> dict[str, Any] | None:
        mark = _mark(field)
        match block.type:
            case "text":
                return {"text": block.text, **mark}
            case "tool_call":
                call = {"id": block.call_id, "name": safe_name(block.name), "args": _args(block.arguments)}
                odd = mark.get("functionCall")
                return {**mark, "functionCall": {**(odd if isinstance(odd, dict) else {}), **call}}
            case "opaque":
                return mark or None
            case "reasoning" if mark.get("thoughtSignature"):
                return {"text": block.text, **mark, "thought": True}
            case "media":
                written = self._media.part_of(block)
                return written if "text" in written else {**written, **mark}
            case _:
                # Thoughts that can be read are a summary, and nothing that Gemini wants back.
                return None

    def _sign(self, message: Message, parts: list[dict[str, Any]]) -> None:
        calls = [part for part in parts if "functionCall" in part]
        # Of parallel calls only the first is signed.
        if calls and self._wants_signatures and "thoughtSignature" not in calls[0]:
            calls[0]["thoughtSignature"] = DUMMY
            self.repairs.append(Note(message.id, "its call was not signed here: it says so"))


def _mark(field: HiddenField | None) -> dict[str, Any]:
    """Return the keys of a part that stand in a hidden field."""
    if field is None or not isinstance(field.data, str):
        return {}
    if field.kind == SIGNATURE:
        return {"thoughtSignature": field.data}
    whole = json.loads(field.data) if is_json(field.data) else None
    return whole if isinstance(whole, dict) else {}


def _answered(result: Result) -> dict[str, Any]:
    """Return what came of a call as an object, since Gemini takes no other."""
    text = result.whole_text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if isinstance(value, dict):
        return value
    return {"error" if result.is_error else "output": value}


def _args(arguments: str) -> dict[str, Any]:
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        value = arguments
    return value if isinstance(value, dict) else {"arguments": value}


def _tools(offered: Sequence[Tool]) -> tuple[list[dict[str, Any]], list[Note]]:
    native: list[dict[str, Any]] = []
    functions: list[dict[str, Any]] = []
    notes: list[Note] = []
    for tool in offered:
        if "gemini" in tool.native:
            native.append(dict(tool.native["gemini"]))
        elif tool.parameters is not None:
            described = {"description": tool.description} if tool.description is not None else {}
            schema = {"parametersJsonSchema": dict(tool.parameters)} if tool.parameters else {}
            functions.append({"name": safe_name(tool.name), **described, **schema})
        else:
            notes.append(Note(tool.name, "a tool that only another provider has"))
    return [*native, *([{"functionDeclarations": functions}] if functions else [])], notes


def safe_name(name: str) -> str:
    """Return a name that Gemini takes: letters, digits and ``_.:-``, 64 at most, no digit in front."""
    safe = _NAME.sub("_", name)[:64]
    return safe if safe[:1].isalpha() or safe[:1] == "_" else f"_{safe}"[:64]
