"""One call with its limits: in every case there is a result."""

from __future__ import annotations

import json
from dataclasses import replace

import anyio

from adapters.tools.output import ToolOutput
from adapters.tools.port import CallableTool


def failed(text: str) -> ToolOutput:
    """Return a result that says what went wrong."""
    return ToolOutput(text, is_error=True)


async def perform(tool: CallableTool, arguments: str) -> ToolOutput:
    """
    Call a tool.

    Args:
        tool: The tool.
        arguments: JSON text, as the model wrote it.
    """
    try:
        given = json.loads(arguments or "{}")
    except (ValueError, RecursionError) as error:
        return failed(f"the arguments are no JSON: {error}")
    if not isinstance(given, dict):
        return failed("the arguments are no JSON object")
    with anyio.move_on_after(tool.time_limit_s):
        try:
            return await tool.call(given)
        except Exception as error:  # noqa: BLE001 - whatever it is, the model may know what to do
            return failed(_told(error))
    return failed(
        f"it took longer than the {tool.time_limit_s:g} s that it may: "
        "whether it was done, or will be, is not known"
    )


def _told(error: Exception) -> str:
    text = str(error).encode("utf-8", "replace").decode()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def shortened(output: ToolOutput, limit: int) -> ToolOutput:
    """Return a result with no more than so many characters, and a note where it was cut."""
    if len(output.text) <= limit:
        return output
    note = f"\n[cut here: these are {limit} of {len(output.text)} characters]"
    return replace(output, text=output.text[:limit] + note)
