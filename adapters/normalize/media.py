"""What stands in a request for a picture or a file that the model can't take."""

from __future__ import annotations

from adapters.exchange import Hidden
from adapters.normalize.turns import Turn
from crdt_conv import Part
from crdt_conv.messages.hidden import SERVER


def is_waiting(turn: Turn, hidden: Hidden) -> bool:
    """Whether a turn will be written otherwise by and by: bytes are to come, or a hidden field expires."""
    blocks = (*turn.blocks, *(block for result in turn.results for block in result.blocks))
    names = (block.part.content.get("sha256") for block in blocks if block.type == "media")
    if any(isinstance(sha256, str) and hidden.blob(sha256) is None for sha256 in names):
        return True
    # Names of server-held state are asked about each time.
    fields = hidden.of_message(turn.message) if turn.message is not None else ()
    return any(field.expires is not None and field.binding != SERVER for field in fields)


def not_sent(part: Part) -> str:
    """
    Return a line that says what is missing.

    Example:
        >>> from crdt_conv import new_part
        >>> not_sent(new_part("media", name="a.wav", mime="audio/wav", size=9))
        '[a.wav (audio/wav, 9 bytes) can not be shown to this model]'
    """
    mime, size = part.content.get("mime"), part.content.get("size")
    details = ", ".join(filter(None, (str(mime or ""), f"{size} bytes" if isinstance(size, int) else "")))
    name = part.content.get("name") or "a file"
    return f"[{name}{details and f' ({details})'} can not be shown to this model]"
