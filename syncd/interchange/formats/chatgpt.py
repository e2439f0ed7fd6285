"""
ChatGPT's export: ``conversations.json``, a mapping of nodes with parents and children.

A message to a tool (``recipient``) is a tool call, and what a tool says its result; they carry no
call ids, so a result answers the call before it. Reasoning comes as messages of their own, before the answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from syncd.interchange.records import (
    Draft,
    Findings,
    Imported,
    Record,
    an_object,
    keep_outer,
    milliseconds,
    objects,
    words,
)

NAME: Final = "chatgpt"

_ROLES: Final = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_STATUSES: Final = {"finished_successfully": "complete", "finished_partial_completion": "interrupted"}
_KEYS: Final = {
    "content_type", "parts", "text", "result", "response_format_name", "thoughts", "content", "output_str",
    "user_profile", "user_instructions", "model_set_context",
}  # fmt: skip
_ASIDE: Final = {
    "url", "title", "domain", "tether_id", "summary", "assets", "source_analysis_msg_id", "repository",
    "repo_summary", "structured_context", "screenshot", "state", "computer_id", "is_ephemeral",
    "language", "name",
}  # fmt: skip
_POINTERS: Final = {
    "image_asset_pointer": "image/*",
    "audio_asset_pointer": "audio/*",
    "video_container_asset_pointer": "video/*",
}
_SEALED: Final = ("citations", "content_references", "aggregate_result", "_cite_metadata")
# What says nothing of a message that stands nowhere else.
_NOISE: Final = {
    *_SEALED, "request_id", "timestamp_", "message_type", "model_slug", "default_model_slug", "parent_id",
    "finish_details", "is_complete", "message_source", "attachments", "real_time_audio_has_video",
    "image_gen_async", "trigger_async_ux", "serialization_metadata", "rebase_system_message",
    "rebase_developer_message", "turn_exchange_id", "can_save", "message_locale", "client_created_root",
}  # fmt: skip
_OUTER: Final = {
    "title", "create_time", "update_time", "mapping", "current_node", "conversation_id", "id",
    "default_model_slug", "memory_scope", "moderation_results", "safe_urls", "blocked_urls", "is_archived",
    "is_starred", "is_do_not_remember", "is_read_only", "is_study_mode", "sugar_item_visible", "plugin_ids",
    "disabled_tool_ids", "async_status", "conversation_origin",
}  # fmt: skip


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
    imported = Imported(
        NAME,
        words(raw.get("conversation_id")) or words(raw.get("id")) or next(iter(mapping), ""),
        words(raw.get("title")),
        records,
        reader.visible(raw.get("current_node")),
        milliseconds(raw.get("create_time")),
    )
    keep_outer(imported, raw, _OUTER)
    return imported


class _Reader:
    """Reads the nodes of one conversation."""

    def __init__(self, mapping: Mapping[str, dict[str, Any]], findings: Findings) -> None:
        self._mapping = mapping
        self._findings = findings
        self._drafts: dict[str, Draft | None] = {}

    def records(self, key: str) -> list[Record]:
        """Return the message of a node, if it says anything."""
        message, draft = an_object(self._mapping[key].get("message")), self._draft(key)
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
            if self._draft(key) is not None:
                return key
            key = self._mapping[key].get("parent")
        return None

    def _draft(self, key: str) -> Draft | None:
        """Return what the message of a node says, which is read once."""
        if key not in self._drafts:
            message = an_object(self._mapping[key].get("message"))
            self._drafts[key] = self._read(key, message) if message else None
        return self._drafts[key]

    def _read(self, key: str, message: dict[str, Any]) -> Draft | None:
        draft = Draft(NAME, self._findings)
        content, author = an_object(message.get("content")), an_object(message.get("author"))
        metadata = an_object(message.get("metadata"))
        files = {words(file.get("id")): file for file in objects(metadata.get("attachments"))}
        kind, recipient = words(content.get("content_type")), words(message.get("recipient")) or "all"
        if author.get("role") == "tool":
            draft.result(self._call_before(key), _plain(content), is_error=kind == "system_error")
            _others(draft, content, files)
        elif author.get("role") == "assistant" and recipient != "all":
            draft.call(_call_id(key), recipient, _plain(content))
            _others(draft, content, files)
        else:
            _content(draft, kind, content, files)
        for output in objects(an_object(metadata.get("aggregate_result")).get("messages")):
            if isinstance(output.get("image_url"), str):
                draft.missing_media(output["image_url"], mime="image/*")
        for reference, file in files.items():
            draft.missing_media(reference, **_told(file))
        if draft.is_empty:
            return None
        if draft.parts[0].type != "opaque":
            draft.keep_keys(kind or "content", content, _KEYS | _ASIDE)
            draft.keep_rest({key: content.get(key) for key in _ASIDE}, (), "content")
        for name in _SEALED:
            if metadata.get(name):
                draft.seal(NAME, name.strip("_"), json.dumps(metadata[name]), at=None)
        draft.keep_rest(metadata | {"author": author.get("metadata")}, _NOISE, "metadata")
        return draft

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


def _call_id(key: str) -> str:
    return f"call_{key}"


def _content(draft: Draft, kind: str, content: dict[str, Any], files: dict[str, dict[str, Any]]) -> None:
    match kind:
        case "thoughts" | "reasoning_recap":
            draft.text(_thoughts(content), "reasoning")
        case "user_editable_context" | "model_editable_context":
            texts = (content.get(key) for key in ("user_profile", "user_instructions", "model_set_context"))
            draft.text("\n\n".join(text for text in texts if isinstance(text, str) and text))
        case "text" | "multimodal_text" | "":
            for part in _listed(content.get("parts")):
                if isinstance(part, str):
                    draft.text(part)
                else:
                    _part(draft, part, files)
            for key in ("text", "result"):
                draft.text(content.get(key))
        case (
            "code"
            | "execution_output"
            | "citable_code_output"
            | "computer_output"
            | "tether_quote"
            | "tether_browsing_display"
            | "system_error"
        ):
            draft.text(_plain(content))
            _others(draft, content, files)
        case _:
            draft.keep(kind, content)


def _listed(parts: Any) -> list[Any]:
    """Return parts; a text alone, as other programs write it, is one."""
    return parts if isinstance(parts, list) else [] if parts is None else [parts]


def _others(draft: Draft, content: dict[str, Any], files: dict[str, dict[str, Any]]) -> None:
    """Add the parts that are no text."""
    for part in _listed(content.get("parts")):
        if not isinstance(part, str):
            _part(draft, part, files)
    if isinstance(content.get("screenshot"), dict):
        _part(draft, content["screenshot"], files)


def _part(draft: Draft, part: Any, files: dict[str, dict[str, Any]]) -> None:
    pointers = list(_pointers(part))
    kind = words(an_object(part).get("content_type"))
    for pointer in pointers:
        reference = words(pointer.get("asset_pointer"))
        told = _told(files.pop(reference.rpartition("://")[2], {}))
        told["size"] = told.get("size") or pointer.get("size_bytes")
        told["mime"] = told.get("mime") or _POINTERS[words(pointer.get("content_type"))]
        at = draft.missing_media(reference, **told)
        draft.keep_rest(an_object(pointer.get("metadata")), {"sanitized"}, "media", at)
    if kind == "audio_transcription":
        draft.text(part.get("text"))
    elif not pointers and part is not None:
        draft.keep(kind or "part", part)


def _pointers(part: Any) -> Iterator[dict[str, Any]]:
    """Return a pointer to a file, and those inside what was said and shown in a call."""
    if not isinstance(part, dict):
        return
    if words(part.get("content_type")) in _POINTERS and isinstance(part.get("asset_pointer"), str):
        yield part
    for key, value in part.items():
        if key.endswith("asset_pointer"):
            yield from _pointers(value)
        elif key.endswith("asset_pointers"):
            for inner in objects(value):
                yield from _pointers(inner)


def _told(file: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of an attachment."""
    mime = words(file.get("mime_type")) or words(file.get("mimeType"))
    return {"mime": mime, "name": words(file.get("name")), "size": file.get("size")}


def _plain(content: dict[str, Any]) -> str:
    parts = [part for part in _listed(content.get("parts")) if isinstance(part, str)]
    texts = (words(content.get(key)) for key in ("text", "result", "output_str"))
    # What a browser showed, beside its picture.
    page = (words(an_object(content.get("state")).get(key)) for key in ("title", "url"))
    return "\n".join(parts) or next(filter(None, texts), "") or "\n".join(filter(None, page))


def _thoughts(content: dict[str, Any]) -> str:
    said = [
        "\n\n".join(filter(None, (words(thought.get("summary")), words(thought.get("content")))))
        for thought in objects(content.get("thoughts"))
    ]
    return "\n\n".join(filter(None, said)) or _plain(content) or words(content.get("content"))
