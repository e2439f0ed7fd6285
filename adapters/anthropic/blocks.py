"""The blocks of a user's message and of a result: text, pictures, documents."""

from __future__ import annotations

import base64
import json
from typing import Any

from adapters.exchange import Hidden, Note
from adapters.normalize import Block, Result, not_sent
from adapters.remote import is_json
from adapters.spaces import Place, may_go

_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/*"})
_PDF = "application/pdf"


class Blocks:
    """Writes blocks for one place; what can't be sent is noted in ``left_out``."""

    def __init__(self, place: Place, hidden: Hidden, left_out: list[Note]) -> None:
        self._place = place
        self._hidden = hidden
        self._left_out = left_out

    def of(self, block: Block) -> dict[str, Any]:
        """Return a block as the API takes it; a line of text stands for what it can't."""
        if block.type == "media":
            return self._media(block) or self._missing(block)
        if block.type == "opaque":
            return self._own(block) or _text("[something that only another provider can show]")
        return _text(block.text)

    def of_result(self, result: Result, call_id: str) -> dict[str, Any]:
        """Return a result; with pictures its content is a list."""
        content: Any = result.text
        if result.blocks:
            said = [_text(result.text)] if result.text.strip() else []
            blocks = [block for block in result.blocks if block.text.strip() or block.type != "text"]
            content = [*said, *(self.of(block) for block in blocks)]
        written = {"type": "tool_result", "tool_use_id": call_id, "content": content}
        return {**written, "is_error": True} if result.is_error else written

    def _media(self, block: Block) -> dict[str, Any] | None:
        content = block.part.content
        mime, url, sha256 = str(content.get("mime") or ""), content.get("url"), content.get("sha256")
        data = self._hidden.blob(sha256) if isinstance(sha256, str) else None
        kind = "image" if mime in _IMAGES else "document"
        if data is None and isinstance(url, str):
            return {"type": kind, "source": {"type": "url", "url": url}}
        if data is None:
            return None
        if mime in _IMAGES or mime == _PDF:
            coded = base64.b64encode(data).decode()
            return {"type": kind, "source": {"type": "base64", "media_type": mime, "data": coded}}
        if mime.startswith("text/") and data.strip():
            text = data.decode(errors="replace")
            return {"type": kind, "source": {"type": "text", "media_type": "text/plain", "data": text}}
        return None

    def _missing(self, block: Block) -> dict[str, Any]:
        mime = block.part.content.get("mime")
        self._left_out.append(Note(block.message.id, f"a file ({mime}): this model can't take it"))
        return _text(not_sent(block.part))

    def _own(self, block: Block) -> dict[str, Any] | None:
        for field in self._hidden.of_message(block.message):
            if field.at == block.part.id:
                told = may_go(field, block.message, self._place, self._hidden)
                own = json.loads(str(field.data)) if told and is_json(field.data) else None
                if isinstance(own, dict) and isinstance(own.get("type"), str):
                    return {key: value for key, value in own.items() if key != "cache_control"}
                reason = told.reason or "it can not be read"
                self._left_out.append(Note(block.message.id, f"{field.kind}: {reason}"))
        return None


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
