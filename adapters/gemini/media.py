"""Pictures, sounds, films and documents as Gemini takes them."""

from __future__ import annotations

import base64
from typing import Any

from adapters.exchange import Hidden, Note
from adapters.normalize import Block, not_sent


class Media:
    """Writes files; what can't be sent is noted in ``left_out``."""

    def __init__(self, hidden: Hidden, left_out: list[Note]) -> None:
        self._hidden = hidden
        self._left_out = left_out

    def part_of(self, block: Block) -> dict[str, Any]:
        """Return a file as a part; a line of text stands for one that is not here."""
        content = block.part.content
        mime = str(content.get("mime") or "application/octet-stream")
        url, sha256 = content.get("url"), content.get("sha256")
        data = self._hidden.blob(sha256) if isinstance(sha256, str) else None
        if data is not None:
            return {"inlineData": {"mimeType": mime, "data": base64.b64encode(data).decode()}}
        if isinstance(url, str):
            return {"fileData": {"mimeType": mime, "fileUri": url}}
        self._left_out.append(Note(block.message.id, f"a file ({mime}): its bytes are not here"))
        return {"text": not_sent(block.part)}
