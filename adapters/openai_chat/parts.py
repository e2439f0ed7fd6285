"""The parts of a user's message, and how pictures, sounds and files stand in them."""

from __future__ import annotations

import base64
import json
import mimetypes
from typing import Any, Final

from adapters.exchange import Hidden, Note
from adapters.normalize import Block, not_sent
from adapters.openai_chat.dialects import Dialect
from adapters.remote import is_json
from adapters.spaces import Place, may_go

_SOUNDS: Final = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/x-wav": "wav"}


def part_of(
    block: Block, dialect: Dialect, place: Place, hidden: Hidden, left_out: list[Note]
) -> dict[str, Any]:
    """Return a part of a user's message; a line of text where the model can't take it."""
    if block.type == "opaque":
        return _own(block, place, hidden, left_out) or _missing(block, left_out)
    if block.type != "media":
        return {"type": "text", "text": block.text}
    return _media(block, dialect, hidden) or _missing(block, left_out)


def _media(block: Block, dialect: Dialect, hidden: Hidden) -> dict[str, Any] | None:
    content = block.part.content
    mime = str(content.get("mime") or "application/octet-stream")
    url, sha256 = content.get("url"), content.get("sha256")
    data = hidden.blob(sha256) if isinstance(sha256, str) else None
    kind = _kind(mime)
    if data is not None and mime.startswith("text/") and "file" not in dialect.media:
        return {"type": "text", "text": data.decode(errors="replace")}
    if kind not in dialect.media or (data is None and not isinstance(url, str)):
        return None
    coded = base64.b64encode(data).decode() if data is not None else ""
    address = f"data:{mime};base64,{coded}" if data is not None else url
    if kind in ("image", "video"):
        detail = {"detail": content["detail"]} if isinstance(content.get("detail"), str) else {}
        return {"type": f"{kind}_url", f"{kind}_url": {"url": address, **detail}}
    if data is None:
        return None
    if kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": coded, "format": _SOUNDS.get(mime, "wav")}}
    name = content.get("name") or f"file{mimetypes.guess_extension(mime) or ''}"
    return {"type": "file", "file": {"filename": name, "file_data": address}}


def _kind(mime: str) -> str:
    kind = mime.partition("/")[0]
    return kind if kind in ("image", "audio", "video") else "file"


def _own(block: Block, place: Place, hidden: Hidden, left_out: list[Note]) -> dict[str, Any] | None:
    """Return a part as a client of this provider wrote it."""
    for field in hidden.of_message(block.message):
        if field.at == block.part.id:
            told = may_go(field, block.message, place, hidden)
            own = json.loads(str(field.data)) if told and is_json(field.data) else None
            if isinstance(own, dict):
                return own
            left_out.append(Note(block.message.id, f"{field.kind}: {told.reason or 'it can not be read'}"))
    return None


def _missing(block: Block, left_out: list[Note]) -> dict[str, Any]:
    if block.type == "media":
        left_out.append(
            Note(block.message.id, f"a file ({block.part.content.get('mime')}): not for this model")
        )
        return {"type": "text", "text": not_sent(block.part)}
    return {"type": "text", "text": "[something that only another provider can show]"}
