"""What stands in a request for a picture or a file that the model can't take."""

from __future__ import annotations

from crdt_conv import Part


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
