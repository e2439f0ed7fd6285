"""The content of what people and tools say: texts, pictures, files."""

from __future__ import annotations

import base64
import json
import mimetypes
from typing import Any

from adapters.exchange import Hidden, Note
from adapters.normalize import Block, Result, Turn, not_sent
from adapters.remote import is_json
from adapters.spaces import Place, may_go


class Contents:
    """Writes content for one place; what can't be sent is noted in ``left_out``."""

    def __init__(self, place: Place, hidden: Hidden, left_out: list[Note]) -> None:
        self._place = place
        self._hidden = hidden
        self._left_out = left_out

    def of_turn(self, turn: Turn) -> str | list[dict[str, Any]]:
        """Return what a person said; a text alone is just that."""
        parts = [self._part(block) for block in turn.blocks]
        is_text = len(parts) == 1 and parts[0].keys() == {"type", "text"}
        return str(parts[0]["text"]) if is_text else parts

    def of_result(self, result: Result) -> str | list[dict[str, Any]]:
        """Return what came of a call; with pictures and files it is a list."""
        if not result.media:
            return result.whole_text
        said = [_text(result.text)] if result.text else []
        return [*said, *(self._part(block) for block in result.blocks)]

    def _part(self, block: Block) -> dict[str, Any]:
        match block.type:
            case "media":
                return self._media(block) or self._missing(block)
            case "opaque":
                return self._own(block) or _text("[something that only another provider can show]")
            case _:
                return _text(block.text)

    def _media(self, block: Block) -> dict[str, Any] | None:
        content = block.part.content
        mime = str(content.get("mime") or "application/octet-stream")
        url, sha256 = content.get("url"), content.get("sha256")
        data = self._hidden.blob(sha256) if isinstance(sha256, str) else None
        kind = mime.partition("/")[0]
        if kind == "video" or (data is None and not isinstance(url, str)):
            return None
        address = url if data is None else f"data:{mime};base64,{base64.b64encode(data).decode()}"
        if kind == "image":
            detail = content.get("detail")
            return {
                "type": "input_image",
                "image_url": address,
                "detail": detail if isinstance(detail, str) else "auto",
            }
        if data is None:
            return {"type": "input_file", "file_url": address}
        name = content.get("name") or f"file{mimetypes.guess_extension(mime) or ''}"
        return {"type": "input_file", "filename": name, "file_data": address}

    def _missing(self, block: Block) -> dict[str, Any]:
        mime = block.part.content.get("mime")
        self._left_out.append(Note(block.message.id, f"a file ({mime}): this model can't take it"))
        return _text(not_sent(block.part))

    def _own(self, block: Block) -> dict[str, Any] | None:
        for field in self._hidden.of_message(block.message):
            if field.at == block.part.id:
                told = may_go(field, block.message, self._place, self._hidden)
                own = json.loads(str(field.data)) if told and is_json(field.data) else None
                if isinstance(own, dict):
                    return own
                reason = told.reason or "it can not be read"
                self._left_out.append(Note(block.message.id, f"{field.kind}: {reason}"))
        return None


def _text(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}
