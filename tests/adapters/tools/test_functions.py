"""Functions as tools: what a model is told of them, and what comes of a call."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
from pydantic import Field

from adapters.exchange import Tool
from adapters.tools import FunctionTool, Media, Toolbox, ToolOutput, perform

pytestmark = pytest.mark.anyio


@dataclass
class Place:
    x: int
    y: int


def forecast(city: str, days: int = 3, *, unit: Literal["c", "f"] = "c", title: str | None = None) -> str:
    """
    Tell the weather.

    From a service that is often right.

    Args:
        city: The town's name.
        days: How many.
        unit: Of what.
        title: Above it.
    """
    return f"{city} {days} {unit} {title}"


async def later(at: Annotated[Place, Field(description="Where")]) -> dict[str, int]:
    """Add up."""
    await anyio.lowlevel.checkpoint()
    return {"sum": at.x + at.y}


def test_the_model_is_told_what_signature_and_docstring_say() -> None:
    """Name, description, types, defaults and choices; no titles, but an argument may be called so."""
    assert FunctionTool(forecast).definition == Tool(
        "forecast",
        "Tell the weather.\n\nFrom a service that is often right.",
        {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The town's name."},
                "days": {"type": "integer", "default": 3, "description": "How many."},
                "unit": {"type": "string", "enum": ["c", "f"], "default": "c", "description": "Of what."},
                "title": {
                    "anyOf": [{"type": "string"}, {"type": "null"}],
                    "default": None,
                    "description": "Above it.",
                },
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    )


def all_args(*args: int) -> None:
    """Take what no model can name."""


def by_place(a: int, /) -> None:
    """Take what no model can name."""


def any_key(**keys: int) -> None:
    """Take what no model is told of."""


@pytest.mark.parametrize("function", [all_args, by_place, any_key])
def test_arguments_need_names(function: Callable[..., Any]) -> None:
    """A function that no model can call is refused when the tool is made, not when it is called."""
    with pytest.raises(TypeError):
        FunctionTool(function)


def test_names_are_unique() -> None:
    """Two functions of one name are a mistake of whoever offers them."""
    with pytest.raises(ValueError, match="forecast"):
        Toolbox([forecast, FunctionTool(later, name="forecast")])


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        (forecast, {"city": "Rome"}, "Rome 3 c None"),
        (forecast, {"city": "Rome", "days": "2"}, "Rome 2 c None"),
        (later, {"at": {"x": 1, "y": 2}}, '{"sum":3}'),
        (lambda: None, {}, ""),
        (lambda: ["ä", 1.5, None], {}, '["ä",1.5,null]'),
        (lambda: "half \ud800", {}, "half ?"),
    ],
)
async def test_what_a_function_returns(function: Callable[..., Any], arguments: Any, expected: str) -> None:
    """Text stays text, anything else is JSON; functions may be async, and without a name."""
    tool = FunctionTool(function, name="f")
    assert await perform(tool, json.dumps(arguments)) == ToolOutput(expected)


async def test_files_stand_beside_the_text() -> None:
    """Bytes and media of a list are files, the rest of it is text."""
    picture = Media(b"png", "image/png", "a.png")
    output = await perform(FunctionTool(lambda: ["Here:", picture, b"x"], name="f"), "{}")
    assert output == ToolOutput("Here:", (picture, Media(b"x")))


def broken() -> str:
    """Fail."""
    raise ValueError("no such town")


def unsayable() -> object:
    """Return what JSON can't say."""
    return object()


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        (broken, "{}", "ValueError: no such town"),
        (forecast, "{}", "city"),
        (forecast, '{"city": "x", "more": 1}', "more"),
        (forecast, '{"city"', "the arguments are no JSON"),
        (forecast, "[1]", "the arguments are no JSON object"),
        (unsayable, "{}", "Unable to serialize"),
    ],
)
async def test_what_goes_wrong_is_a_result(
    function: Callable[..., Any], arguments: str, expected: str
) -> None:
    """Whatever it is, the model reads why."""
    output = await perform(FunctionTool(function, name="f"), arguments)
    assert output.is_error
    assert expected in output.text


async def test_a_plain_function_that_takes_too_long_is_left_alone() -> None:
    """The time limit holds for what blocks a thread, and for what waits in the event loop."""
    release = anyio.Event()

    def blocks() -> None:
        anyio.from_thread.run(release.wait)

    for function in (blocks, anyio.sleep_forever):
        output = await perform(FunctionTool(function, name="f", time_limit_s=0.05), "{}")
        assert output.is_error
        assert "longer than the 0.05 s" in output.text
    release.set()
