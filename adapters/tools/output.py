"""What a tool gives back, and how values of Python become that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json


@dataclass(frozen=True, slots=True)
class Media:
    """A picture, a sound or a file."""

    data: bytes
    mime: str = "application/octet-stream"
    name: str = ""


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """
    What came of a call.

    JSON is its text: an object in a document loses the order of its keys, and providers
    bind what they hide to the exact bytes.
    """

    text: str = ""
    media: tuple[Media, ...] = ()
    is_error: bool = False


def output_of(value: Any) -> ToolOutput:
    """
    Return a value as a result: text as it is, bytes and ``Media`` as files, everything else as JSON.

    Raises:
        PydanticSerializationError: It can't be said in JSON.
    """
    match value:
        case ToolOutput():
            return value
        case None:
            return ToolOutput()
        case str():
            # Half a surrogate pair is no text, and no document can hold it.
            return ToolOutput(value.encode("utf-8", "replace").decode())
        case Media():
            return ToolOutput(media=(value,))
        case bytes():
            return ToolOutput(media=(Media(value),))
        case list() | tuple() if any(isinstance(item, Media | bytes) for item in value):
            outputs = [output_of(item) for item in value]
            said = "\n".join(output.text for output in outputs if output.text)
            return ToolOutput(said, tuple(media for output in outputs for media in output.media))
        case _:
            return ToolOutput(to_json(value).decode())
