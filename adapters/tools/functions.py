"""
Python functions as tools: name, description and JSON Schema come from the signature and the docstring.

Arguments are validated by the annotations before the function sees them. A plain function
runs in a thread, so that it may block; nobody can end a thread, so one that is cancelled or
late goes on by itself, and its result is dropped.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, cast

import anyio
import anyio.to_thread
import docstring_parser
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ArgsKwargs, CoreSchema

from adapters.exchange import Json, Tool
from adapters.tools.output import ToolOutput, output_of
from adapters.tools.port import OUTPUT_LIMIT, TIME_LIMIT_S

THREADS: Final = 16
"""So many calls of one plain function at once, those that nobody waits for any more included."""


class FunctionTool:
    """
    A function that a model may call.

    Example:
        >>> def weather(city: str, days: int = 1) -> str:
        ...     '''Tell the weather.
        ...
        ...     Args:
        ...         city: Where.
        ...     '''
        ...     return f"{city}: {days} sunny days"
        >>> tool = FunctionTool(weather, is_repeatable=True)
        >>> tool.definition.name, tool.definition.description
        ('weather', 'Tell the weather.')
        >>> tool.definition.parameters["properties"]["city"]
        {'type': 'string', 'description': 'Where.'}
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        is_repeatable: bool = False,
        needs_approval: bool = False,
        time_limit_s: float = TIME_LIMIT_S,
        output_limit: int = OUTPUT_LIMIT,
    ) -> None:
        """
        Make a tool of a function, be it ``async`` or not.

        Args:
            function: What is called; every argument has a name.
            name: What the model calls it; the function's own name, where it is left out.
            description: What the model is told; the docstring, where it is left out.
            is_repeatable: Whether calling it twice does no more than calling it once.
            needs_approval: Whether a person is asked before each call.
            time_limit_s: How long one call may take.
            output_limit: So many characters of a result go to the model.

        Raises:
            TypeError: An argument has no name, or no JSON Schema can say what it is.
        """
        self._call: TypeAdapter[Any] = TypeAdapter(cast("Any", function))
        docstring = docstring_parser.parse(inspect.getdoc(function) or "")
        self.definition = Tool(
            name or str(getattr(function, "__name__", type(function).__name__)),
            description or _description(docstring),
            _schema(self._call, docstring, function),
        )
        self.is_repeatable = is_repeatable
        self.needs_approval = needs_approval
        self.time_limit_s = time_limit_s
        self.output_limit = output_limit
        self._is_async = _is_async(function)
        self._threads = anyio.CapacityLimiter(THREADS)

    async def call(self, arguments: Mapping[str, Json]) -> ToolOutput:
        """
        Validate the arguments, and call the function.

        Raises:
            Exception: What the function raises; ``ValidationError`` for arguments it can't take.
        """
        call = partial(self._call.validate_python, ArgsKwargs((), dict(arguments)))
        if self._is_async:
            return output_of(await call())
        value = await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._threads)
        return output_of(value)


class _Untitled(GenerateJsonSchema):
    """Without titles: they repeat the names, and every request would pay for them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False

    def kw_arguments_schema(self, arguments: Any, var_kwargs_schema: CoreSchema | None) -> dict[str, Any]:
        if var_kwargs_schema is not None:
            raise TypeError("**keywords are no arguments that a model could be told of")
        return super().kw_arguments_schema(arguments, var_kwargs_schema)


def _schema(
    call: TypeAdapter[Any], docstring: docstring_parser.Docstring, function: Callable[..., Any]
) -> dict[str, Any]:
    schema = call.json_schema(schema_generator=_Untitled)
    if schema.get("type") != "object":
        raise TypeError(f"{function!r} takes arguments without a name, so no model can give them")
    for param in docstring.params:
        if param.description and param.arg_name in schema["properties"]:
            schema["properties"][param.arg_name].setdefault("description", param.description)
    return schema


def _description(docstring: docstring_parser.Docstring) -> str | None:
    told = filter(None, (docstring.short_description, docstring.long_description))
    return "\n\n".join(told) or None


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
