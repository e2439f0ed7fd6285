"""
Chat messages as APIs take them and people fine-tune with: ``{"messages": […]}``, or the list alone.

Also what stands around them: prompt and completion, lines of batches, and pairs of a chosen and a
rejected answer, which are alternatives.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import replace
from itertools import takewhile
from typing import Any, Final

from syncd.interchange.formats.blocks import anthropic_blocks, anthropic_result
from syncd.interchange.records import (
    Draft,
    Findings,
    Imported,
    Record,
    an_object,
    compact,
    keep_outer,
    milliseconds,
    objects,
    words,
)

NAME: Final = "chat"

_ROLES: Final = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_KEPT: Final = ("reasoning_details", "annotations", "audio", "weight")
_KEYS: Final = {
    "role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal",
    "reasoning_content", "reasoning", "id", "created", "created_at", "timestamp", "model", *_KEPT,
}  # fmt: skip
_ANSWERS: Final = ("chosen_messages", "chosen", "completion", "rejected_messages", "rejected")
_OUTER: Final = {
    "id", "title", "messages", "tools", "functions", "created", "created_at", "system", "prompt", "body",
    "choices", "response", *_ANSWERS,
}  # fmt: skip
_BLOCKS: Final = {"thinking", "redacted_thinking", "tool_use", "image", "document"}

Messages = list[dict[str, Any]]


def matches(value: Any) -> bool:
    """Whether a value is a list of chat messages, or an object that holds some."""
    sequences = _sequences(value)
    return bool(sequences) and all("role" in message for message in sequences[0])


def _sequences(value: Any) -> list[Messages]:
    """Return the messages, once for each way in which they end."""
    outer = {"messages": value} if isinstance(value, list) else an_object(value)
    before = objects(outer.get("messages")) or objects(an_object(outer.get("body")).get("messages"))
    before = before or _said(outer.get("prompt"), "user")
    answers = [_said(outer.get(key), "assistant") for key in _ANSWERS]
    replied = an_object(an_object(outer.get("response")).get("body")) or an_object(outer.get("response"))
    choices = objects((replied or outer).get("choices"))
    answers += [[choice["message"]] for choice in choices if isinstance(choice.get("message"), dict)]
    if "messages" not in outer and not any(answers) and "prompt" in outer:
        return []
    return [_behind(before, answer) for answer in answers if answer] or ([before] if before else [])


def _said(value: Any, role: str) -> Messages:
    """Return messages; a text is one, and so is a message alone."""
    if isinstance(value, str):
        return [{"role": role, "content": value}] if value else []
    return [value] if isinstance(value, dict) and "role" in value else objects(value)


def _behind(before: Messages, answer: Messages) -> Messages:
    """Return an answer behind what was asked, which some programs write out with it."""
    return answer if answer[: len(before)] == before else [*before, *answer]


def read(value: Any, findings: Findings) -> Imported:
    """Read one conversation."""
    sequences, outer = _sequences(value), an_object(value)
    records = _first(outer | an_object(outer.get("body")), findings)
    start = records[-1].key if records else None
    main: list[Record] = []
    for number, sequence in enumerate(sequences):
        same = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(sequence, sequences[0], strict=False))
        )
        shared = main[: same if number else 0]
        last = shared[-1].key if shared else start
        pending: list[str] = []
        for place, message in enumerate(sequence[len(shared) :], len(shared)):
            key = f"{number}-{place}" if number else f"{place}"
            record = _record(message, key, last, pending, findings)
            records.append(record)
            last = record.key
            if not number:
                main.append(record)
    imported = Imported(NAME, key_of(outer, sequences[0]), words(outer.get("title")), records)
    imported.current = main[-1].key
    imported.fallback = milliseconds(outer.get("created") or outer.get("created_at"))
    keep_outer(imported, outer | an_object(outer.get("body")), _OUTER)
    return imported


def key_of(outer: dict[str, Any], said: Messages) -> str:
    """
    Return the name of a conversation: its content, or its id with how it begins.

    Ids are counted from one in many a file, so alone they are no name.
    """
    name = outer.get("id")
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        return hashlib.sha256(compact(said).encode()).hexdigest()
    return f"{name}/{hashlib.sha256(compact(said[:1]).encode()).hexdigest()}"


def _first(outer: dict[str, Any], findings: Findings) -> list[Record]:
    """Return the system prompt and tools that stand beside the messages."""
    draft = Draft(NAME, findings)
    if "role" not in outer:
        _content(draft, outer.get("system"))
    add_tools(draft, outer.get("tools") or outer.get("functions"))
    return [] if draft.is_empty else [draft.record("tools", None, "system")]


def add_tools(draft: Draft, tools: Any) -> None:
    """Add definitions of tools; some files have them as the text of a list."""
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except ValueError:
            draft.text(tools)
            return
    if objects(tools):
        draft.add("tools", definitions=compact([_tool(tool) for tool in objects(tools)]))


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = an_object(tool.get("function")) or (tool if "parameters" in tool else {})
    if not function:
        return {"name": words(tool.get("name")) or words(tool.get("type")), "native": {"openai": tool}}
    return {key: function[key] for key in ("name", "description", "parameters", "strict") if key in function}


def _record(
    message: dict[str, Any], key: str, parent: str | None, pending: list[str], findings: Findings
) -> Record:
    """Return a message; ``pending`` are the calls that wait for a result, for files that name none."""
    draft = Draft(NAME, findings)
    role = _ROLES.get(words(message.get("role")))
    if role is None:
        findings.note_unknown(f"role {message.get('role')!r}")
    draft.text(message.get("reasoning_content") or message.get("reasoning"), "reasoning")
    content = message.get("content")
    if role == "tool":
        call_id = message.get("tool_call_id") or message.get("name") or (pending.pop(0) if pending else "")
        draft.result(call_id, _plain(content))
        _content(draft, [block for block in objects(content) if not _is_text(block)])
    else:
        _content(draft, content)
        if isinstance(message.get("refusal"), str) and message["refusal"]:
            draft.add("text", text=message["refusal"], refusal=True)
    for call in objects(message.get("tool_calls")):
        _call(draft, call)
    for number, part in enumerate(draft.parts):
        if part.type == "tool_call" and not part.content["call_id"]:
            pending.append(f"call_{key}_{number}")
            draft.parts[number] = replace(part, content={**part.content, "call_id": pending[-1]})
    if isinstance(message.get("function_call"), dict):
        call = message["function_call"]
        draft.call(call.get("name"), call.get("name"), call.get("arguments"))
    draft.keep_rest({name: message.get(name) for name in _KEPT}, (), "message")
    draft.keep_keys("message", message, _KEYS)
    time = message.get("created") or message.get("created_at") or message.get("timestamp")
    model = words(message.get("model")) or None if role == "assistant" else None
    if role == "user" and draft.parts and draft.parts[0].type == "tool_result":
        role = "tool"
    return draft.record(
        key, parent, role or "user", created=milliseconds(time), name=words(message.get("name")), model=model
    )


def _call(draft: Draft, call: dict[str, Any]) -> None:
    function = an_object(call.get("function")) or an_object(call.get("custom")) or call
    arguments = function.get("arguments") if "arguments" in function else function.get("input")
    draft.call(call.get("id"), function.get("name"), arguments)


def _is_text(block: dict[str, Any]) -> bool:
    return words(block.get("type")) in {"text", "input_text", "output_text"}


def _plain(content: Any) -> Any:
    """Return what a tool said: a text, or JSON where there is none."""
    if isinstance(content, list) and all(isinstance(block, dict) and "type" in block for block in content):
        said = [block.get("text", block.get("value")) for block in content if _is_text(block)]
        return "\n".join(text for text in said if isinstance(text, str))
    return content if content is not None else ""


def _content(draft: Draft, content: Any) -> None:
    if not isinstance(content, list):
        draft.text(content)
        return
    for block in content:
        if isinstance(block, str):
            draft.text(block)
        else:
            _block(draft, block)


def _block(draft: Draft, block: Any) -> None:
    block_type = words(an_object(block).get("type"))
    said = an_object(block).get("text", an_object(block).get("value"))
    match block_type:
        case "text" | "input_text" | "output_text":
            draft.text(said)
        case "reasoning" if isinstance(said, str):
            draft.text(said, "reasoning")
        case "image_url" | "input_image" | "video_url" | "audio_url":
            url = block.get(block_type) or block.get("image_url") or said
            add_url(draft, words(an_object(url).get("url")) or words(url), f"{_media(block_type)}/*")
        case "input_audio":
            audio = an_object(block.get("input_audio"))
            add_url(draft, f"data:audio/{words(audio.get('format'))};base64,{words(audio.get('data'))}")
        case "file" if isinstance(an_object(block.get("file")).get("file_data"), str):
            file = block["file"]
            add_url(draft, file["file_data"], "application/octet-stream", words(file.get("filename")))
        case "tool_call" if isinstance(said, str):
            name, arguments = named_call(said)
            draft.call("", name, arguments)
        case "tool_result":
            anthropic_result(draft, block)
        case _ if block_type in _BLOCKS:
            anthropic_blocks(draft, [block])
        case _:
            draft.keep(block_type or "block", block)


def _media(block_type: str) -> str:
    return next((kind for kind in ("video", "audio") if kind in block_type), "image")


def named_call(text: str) -> tuple[str, Any]:
    """Return name and arguments of a call that is written as JSON; of another text, no name."""
    try:
        call = json.loads(text)
    except ValueError:
        return "", text
    if not isinstance(call, dict) or "name" not in call:
        return "", text
    return words(call.get("name")), call.get("arguments", call.get("parameters"))


def add_url(draft: Draft, url: str, mime: str = "image/*", name: str = "") -> None:
    """Add a picture or file by its URL; of a ``data:`` URL, its bytes."""
    head, comma, body = url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        try:
            data = base64.b64decode(body, validate=True)
        except binascii.Error:
            draft.keep("data URL", url)
        else:
            draft.media(data, head[5:-7] or "application/octet-stream", name)
    else:
        draft.missing_media(url, mime=mime, name=name)
