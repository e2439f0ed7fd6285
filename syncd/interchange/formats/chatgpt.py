"""
ChatGPT's export: ``conversations.json``, a mapping of nodes with parents and children.

A message to a tool (``recipient``) is a tool call, and what a tool says its result; they carry no
call ids, so a result answers the call before it. Reasoning comes as messages of their own, before the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from syncd.interchange.records import (
    Draft,
    Findings,
    Imported,
    Record,
    an_object,
    milliseconds,
    objects,
    words,
)

NAME: Final = "chatgpt"

_ROLES: Final = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_STATUSES: Final = {"finished_successfully": "complete", "finished_partial_completion": "interrupted"}
_REASONING: Final = {"thoughts", "reasoning_recap"}
_KEYS: Final = {
    "content_type",
    "parts",
    "text",
    "language",
    "result",
    "response_format_name",
    "thoughts",
    "content",
}
_POINTER: Final = {"image_asset_pointer", "audio_asset_pointer", "video_container_asset_pointer"}


def matches(value: Any) -> bool:
    """Whether a value is a conversation of ChatGPT's, also inside a capture of a browser's."""
    return isinstance(_conversation(value).get("mapping"), dict)


def _conversation(value: Any) -> dict[str, Any]:
    outer = an_object(value)
    return an_object(outer.get("raw_provider_payload")) or outer


def read(value: Any, findings: Findings) -> Imported:
    """Read one conversation."""
    raw = _conversation(value)
    mapping = {key: node for key, node in raw["mapping"].items() if isinstance(node, dict)}
    reader = _Reader(mapping, findings)
    records = [record for key in mapping for record in reader.records(key)]
    return Imported(
        NAME,
        words(raw.get("conversation_id")) or words(raw.get("id")) or next(iter(mapping), ""),
        words(raw.get("title")),
        records,
        reader.visible(raw.get("current_node")),
        milliseconds(raw.get("create_time")),
    )


class _Reader:
    """Reads the nodes of one conversation."""

    def __init__(self, mapping: Mapping[str, dict[str, Any]], findings: Findings) -> None:
        self._mapping = mapping
        self._findings = findings

    def records(self, key: str) -> list[Record]:
        """Return the message of a node, if it says anything."""
        message = an_object(self._mapping[key].get("message"))
        draft = self._draft(key, message) if message else None
        if draft is None:
            return []
        author, metadata = an_object(message.get("author")), an_object(message.get("metadata"))
        role = _ROLES.get(words(author.get("role")), "system")
        reason = an_object(metadata.get("finish_details")).get("type")
        status = _STATUSES.get(words(message.get("status")), "interrupted")
        record = draft.record(
            key,
            self.visible(self._mapping[key].get("parent")),
            role,
            created=milliseconds(message.get("create_time")),
            name=words(author.get("name")),
            model=words(metadata.get("model_slug")) or None if role == "assistant" else None,
            stop_reason=words(reason) or None,
            status="interrupted" if reason == "interrupted" else status,
        )
        return [record]

    def visible(self, key: Any) -> str | None:
        """Return the node itself, or the nearest before it that says something."""
        seen: set[str] = set()
        while isinstance(key, str) and key in self._mapping and key not in seen:
            seen.add(key)
            message = an_object(self._mapping[key].get("message"))
            if message and self._says_something(message):
                return key
            key = self._mapping[key].get("parent")
        return None

    def _says_something(self, message: dict[str, Any]) -> bool:
        silent = Findings()
        return self._read(_NO_KEY, message, silent) is not None

    def _draft(self, key: str, message: dict[str, Any]) -> Draft | None:
        return self._read(key, message, self._findings)

    def _read(self, key: str, message: dict[str, Any], findings: Findings) -> Draft | None:
        draft = Draft(NAME, findings)
        content, author = an_object(message.get("content")), an_object(message.get("author"))
        kind, recipient = words(content.get("content_type")), words(message.get("recipient")) or "all"
        if author.get("role") == "tool":
            draft.result(self._call_before(key), _plain(content), is_error=kind == "system_error")
            _pointers(draft, content)
        elif author.get("role") == "assistant" and recipient != "all":
            draft.call(_call_id(key), recipient, _plain(content))
        else:
            _content(draft, kind, content)
        metadata = an_object(message.get("metadata"))
        for file in objects(metadata.get("attachments")):
            mime = words(file.get("mime_type")) or words(file.get("mimeType"))
            name, reference = words(file.get("name")), words(file.get("id"))
            draft.missing_media(reference, mime=mime, size=file.get("size"), name=name)
        if metadata.get("citations"):
            draft.seal(NAME, "citations", json.dumps(metadata["citations"]), at=None)
        return None if draft.is_empty else draft

    def _call_before(self, key: str) -> str:
        """Return the id of the call that a result answers."""
        seen: set[str] = set()
        while key in self._mapping and key not in seen:
            seen.add(key)
            message = an_object(self._mapping[key].get("message"))
            to = words(message.get("recipient")) or "all"
            if an_object(message.get("author")).get("role") == "assistant" and to != "all":
                return _call_id(key)
            key = words(self._mapping[key].get("parent"))
        return ""


_NO_KEY: Final = ""


def _call_id(key: str) -> str:
    return f"call_{key}"


def _content(draft: Draft, kind: str, content: dict[str, Any]) -> None:
    match kind:
        case "text" | "multimodal_text":
            for part in content.get("parts") or ():
                _part(draft, part)
        case "code" | "execution_output" | "tether_quote" | "tether_browsing_display" | "system_error":
            draft.text(_plain(content))
        case "thoughts" | "reasoning_recap":
            draft.text(_thoughts(content), "reasoning")
        case "user_editable_context" | "model_editable_context":
            texts = (content.get(key) for key in ("user_profile", "user_instructions", "model_set_context"))
            draft.text("\n\n".join(text for text in texts if isinstance(text, str) and text))
        case _:
            draft.keep(kind or "content", content)
            return
    if kind not in {"user_editable_context", "model_editable_context", "tether_quote", "system_error"}:
        draft.keep_keys(kind, content, _KEYS)


def _part(draft: Draft, part: Any) -> None:
    if isinstance(part, str):
        draft.text(part)
    elif isinstance(part, dict) and part.get("content_type") in _POINTER:
        _pointer(draft, part)
    elif isinstance(part, dict) and part.get("content_type") == "audio_transcription":
        draft.text(part.get("text"))
    elif part is not None:
        draft.keep(words(an_object(part).get("content_type")) or "part", part)


def _pointer(draft: Draft, part: dict[str, Any]) -> None:
    pointer, kind = words(part.get("asset_pointer")), words(part.get("content_type"))
    mime = {"image": "image/*", "audio": "audio/*", "video": "video/*"}[kind.partition("_")[0]]
    draft.missing_media(pointer, mime=mime, size=part.get("size_bytes"))


def _pointers(draft: Draft, content: dict[str, Any]) -> None:
    for part in objects(content.get("parts")):
        if part.get("content_type") in _POINTER:
            _pointer(draft, part)


def _plain(content: dict[str, Any]) -> str:
    parts = [part for part in content.get("parts") or () if isinstance(part, str)]
    return "\n".join(parts) or words(content.get("text")) or words(content.get("result"))


def _thoughts(content: dict[str, Any]) -> str:
    said = [
        "\n\n".join(filter(None, (words(thought.get("summary")), words(thought.get("content")))))
        for thought in objects(content.get("thoughts"))
    ]
    return "\n\n".join(filter(None, said)) or _plain(content) or words(content.get("content"))
