"""
From a log to a request of ``/api/chat``. Pure.

Calls have no ids here: a result names its tool and stands in the order of the calls. What the model
thought goes back to the model that thought it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from adapters.exchange import Hidden, Note, Report, Request, Tool
from adapters.normalize import Block, Head, Progress, Turn, Writer, not_sent, with_offered
from adapters.prefix import salt_of
from adapters.remote import params_of
from adapters.spaces import Place, may_go, sent_field
from crdt_conv import Message, Target

VERSION: Final = "ollama/1"
PATH: Final = "/api/chat"
THINKING: Final = "thinking"
"""A hidden field of this kind says that a reasoning part is thinking of this model's."""

_OPTIONS: Final = {"max_tokens": "num_predict"} | {
    name: name for name in ("temperature", "top_p", "top_k", "seed", "stop", "num_ctx", "num_predict")
}


def materialize(
    log: Sequence[Message],
    target: Target,
    tools: Sequence[Tool],
    hidden: Hidden,
    *,
    place: Place,
    progress: Progress[ChatWriter] | None = None,
) -> tuple[Request, Report]:
    """
    Return the request that asks for the next answer, and what became of the log.

    Raises:
        NothingToAnswer: The log does not end with something to answer.
    """
    writer, turns = (progress or Progress()).follow(
        log, place, hidden, lambda head: ChatWriter(place, hidden, head)
    )
    turns.check_answerable()
    offered, notes = with_offered(turns.tools, tuple(tools))
    definitions, foreign = _tools(offered)
    params, refused = params_of(target)
    body: dict[str, Any] = {
        "model": place.model,
        "messages": writer.written,
        **({"tools": definitions} if definitions else {}),
        "stream": True,
        **_params(params),
    }
    left_out = (*turns.left_out, *notes, *writer.left_out, *foreign, *refused)
    report = Report(VERSION, turns.sent, left_out, turns.repairs, tuple(writer.sent))
    return Request(PATH, body, salt=partial(salt_of, log)), report


def _params(params: dict[str, Any]) -> dict[str, Any]:
    """Return parameters with those of the model under ``options``."""
    plain = {_OPTIONS[key]: params.pop(key) for key in tuple(params) if key in _OPTIONS}
    given = params.get("options")
    options = {**plain, **(given if isinstance(given, dict) else {})}
    return {**params, **({"options": options} if options else {})}


class ChatWriter(Writer):
    """Writes the messages of one request."""

    def __init__(self, place: Place, hidden: Hidden, head: Head) -> None:
        super().__init__(place, hidden)
        for turn in head.lead:
            self.add(turn, "", "")

    def add(self, turn: Turn, before: str, after: str) -> None:
        """Write a turn."""
        del before, after
        match turn.role:
            case "assistant":
                self.written += self._answer(turn)
            case "tool":
                self.written += (
                    self._result(result.name, result.whole_text, result.media) for result in turn.results
                )
            case "system":
                self.written += [{"role": "system", "content": turn.text}] if turn.text else []
            case _:
                self.written.append(self._shown({"role": "user"}, turn.blocks))

    def _result(self, name: str, text: str, media: Sequence[Block]) -> dict[str, Any]:
        shown = self._shown({"role": "tool", "tool_name": name}, media)
        return {**shown, "content": "\n".join(filter(None, (text, shown["content"])))}

    def _shown(self, message: dict[str, Any], blocks: Sequence[Block]) -> dict[str, Any]:
        texts: list[str] = []
        images: list[str] = []
        for block in blocks:
            image = self._image(block) if block.type == "media" else None
            if image is not None:
                images.append(image)
            elif block.type == "media":
                self.left_out.append(Note(block.message.id, "a file that Ollama can't take"))
                texts.append(not_sent(block.part))
            elif block.text:
                texts.append(block.text)
        content = "\n".join(texts)
        return {**message, "content": content, **({"images": images} if images else {})}

    def _image(self, block: Block) -> str | None:
        content = block.part.content
        sha256 = content.get("sha256")
        is_image = str(content.get("mime") or "").startswith("image/")
        data = self._hidden.blob(sha256) if is_image and isinstance(sha256, str) else None
        return base64.b64encode(data).decode() if data is not None else None

    def _answer(self, turn: Turn) -> list[dict[str, Any]]:
        assert turn.message is not None
        text = "".join(block.text for block in turn.blocks if block.type == "text")
        calls = [_call(block) for block in turn.calls]
        thinking = self._thinking(turn)
        if not (text or calls):
            self.left_out.append(Note(turn.message.id, "nothing in it can be sent to this provider"))
            return []
        message: dict[str, Any] = {"role": "assistant", "content": text}
        message |= {"thinking": thinking} if thinking else {}
        return [message | ({"tool_calls": calls} if calls else {})]

    def _thinking(self, turn: Turn) -> str:
        assert turn.message is not None
        texts = {block.part.id: block.text for block in turn.blocks if block.type == "reasoning"}
        said: list[str] = []
        for field in self._hidden.of_message(turn.message):
            told = may_go(field, turn.message, self._place, self._hidden)
            is_own = field.kind == THINKING and field.provider == self._place.provider
            reason = told.reason or ("" if is_own else f"{field.provider} made it")
            if not reason and field.model != self._place.model:
                reason = f"{field.model} thought it"
            if reason:
                self.left_out.append(Note(turn.message.id, f"{field.kind}: {reason}"))
            elif field.at in texts:
                said.append(texts[field.at or ""])
                self.sent.append(sent_field(turn.message.id, field))
        return "".join(said)


def _call(block: Block) -> dict[str, Any]:
    try:
        arguments = json.loads(block.arguments)
    except (ValueError, RecursionError):
        arguments = block.arguments
    whole = arguments if isinstance(arguments, dict) else {"arguments": arguments}
    return {"function": {"name": block.name, "arguments": whole}}


def _tools(offered: Sequence[Tool]) -> tuple[list[dict[str, Any]], list[Note]]:
    written: list[dict[str, Any]] = []
    notes: list[Note] = []
    for tool in offered:
        if "ollama" in tool.native:
            written.append(dict(tool.native["ollama"]))
        elif tool.parameters is not None:
            described = {"description": tool.description} if tool.description is not None else {}
            function = {"name": tool.name, **described, "parameters": dict(tool.parameters)}
            written.append({"type": "function", "function": function})
        else:
            notes.append(Note(tool.name, "a tool that only another provider has"))
    return written, notes
