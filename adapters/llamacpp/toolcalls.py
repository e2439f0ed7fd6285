"""
Tools as a llama.cpp model is told of them, and calls as it writes them. Pure.

A call is ``<tool_call>``, a line of JSON ``{"name": …, "arguments": {…}}``, ``</tool_call>``:
what Qwen, Hermes and many others were trained on. A template that writes that itself
is given tools, calls and results as they are; for every other, a system message
explains it, and calls and results become text. So every model can be offered tools,
and since the JSON is generated within the tool's own schema, every call can be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

Json: TypeAlias = Any

OPEN: Final = "<tool_call>"
CLOSE: Final = "</tool_call>"
BEGIN_CALL: Final = f"{OPEN}\n"
END_CALL: Final = f"\n{CLOSE}"

# Templates that write "<tool_call>" and something else than JSON into it.
_OTHERS: Final = ("<arg_key>", "<function=", "<parameter=")

_EXPLANATION: Final = """\
You can call these tools:
<tools>
{tools}
</tools>
To call one, write nothing but
<tool_call>
{{"name": "the tool's name", "arguments": {{…}}}}
</tool_call>
and its result comes back to you in <tool_response></tool_response>."""


def is_native(template: str, caps: Mapping[str, Json]) -> bool:
    """Whether a chat template writes tools, calls and results itself, in the form that is read here."""
    return (
        OPEN in template
        and not any(other in template for other in _OTHERS)
        and caps.get("supports_tools") is not False
    )


def explanation(tools: Sequence[Json]) -> str:
    """Return what tells a model of tools whose template does not."""
    return _EXPLANATION.format(tools="\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools))


def as_text(message: Mapping[str, Json]) -> dict[str, Json]:
    """Return a message for a template that knows neither calls nor results."""
    if message["role"] == "tool":
        return {
            "role": "user",
            "content": f"<tool_response>\n{message.get('content') or ''}\n</tool_response>",
        }
    calls = [_written(call["function"]) for call in message.get("tool_calls") or ()]
    content = "\n".join(filter(None, (message.get("content"), *calls)))
    return {**{key: value for key, value in message.items() if key != "tool_calls"}, "content": content}


def _written(function: Mapping[str, Json]) -> str:
    arguments = function.get("arguments")
    try:
        parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        parsed = arguments
    call = json.dumps({"name": function.get("name"), "arguments": parsed}, ensure_ascii=False)
    return f"{BEGIN_CALL}{call}{END_CALL}"


def call_schema(tools: Sequence[Mapping[str, Json]], only: str | None = None) -> dict[str, Json]:
    """
    Return the JSON Schema of a call to one of these tools.

    Args:
        tools: As they are sent: ``{"type": "function", "function": {"name", "parameters"}}``.
        only: The one that may be called; any of them, where it is left out.
    """
    functions = [tool["function"] for tool in tools if only in {None, tool["function"]["name"]}]
    schemas = [
        {
            "type": "object",
            "properties": {
                "name": {"const": function["name"]},
                "arguments": function.get("parameters") or {"type": "object"},
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for function in functions
    ]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def parse_call(text: str) -> tuple[str, str] | None:
    """
    Return a call's name and its arguments as JSON, or nothing if the text is none.

    Example:
        >>> parse_call('{"name": "add", "arguments": {"a": 1}}')
        ('add', '{"a": 1}')
    """
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", call.get("parameters", {}))
    return (call["name"], json.dumps(arguments, ensure_ascii=False)) if isinstance(arguments, dict) else None
