"""
Values against JSON Schema: the few keywords that the API's own schemas use.

A test holds it to a full implementation; a keyword that it does not know is an error of
the program, so that no schema promises what nobody checks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

ANNOTATIONS: Final = frozenset({"description", "default", "examples", "title"})

_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: (
        not isinstance(value, bool)
        and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
    "null": lambda value: value is None,
}


class Fault(NamedTuple):
    """What is wrong with a value, and where: a JSON pointer, empty for the whole."""

    pointer: str
    detail: str


Schema: TypeAlias = Mapping[str, Any]
Check: TypeAlias = Callable[[Any, Schema, str], Iterator[Fault]]


def faults(value: Any, schema: Schema, pointer: str = "") -> Iterator[Fault]:
    """
    Yield what is wrong with a value.

    Args:
        value: As ``json.loads`` returns it.
        schema: Of known keywords.
        pointer: Where the value stands.
    """
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else kinds or [*_TYPES]
    if not any(_TYPES[name](value) for name in names):
        yield Fault(pointer, f"must be {_words(names)}")
        return
    for keyword in schema:
        if keyword != "type" and keyword not in ANNOTATIONS:
            yield from _CHECKS[keyword](value, schema, pointer)


def escaped(key: str) -> str:
    """Return a key as it stands in a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _words(names: list[str]) -> str:
    nouns = [name if name == "null" else f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in names]
    return " or ".join(nouns)


def _properties(value: Any, schema: Schema, pointer: str) -> Iterator[Fault]:
    if isinstance(value, dict):
        for key, inner in schema["properties"].items():
            if key in value:
                yield from faults(value[key], inner, f"{pointer}/{escaped(key)}")


def _required(value: Any, schema: Schema, pointer: str) -> Iterator[Fault]:
    for key in schema["required"]:
        if isinstance(value, dict) and key not in value:
            yield Fault(f"{pointer}/{escaped(key)}", "is missing")


def _additional(value: Any, schema: Schema, pointer: str) -> Iterator[Fault]:
    assert schema["additionalProperties"] is False, "others are known by leaving the keyword out"
    for key in value if isinstance(value, dict) else ():
        if key not in schema["properties"]:
            yield Fault(f"{pointer}/{escaped(key)}", "is not known here")


def _items(value: Any, schema: Schema, pointer: str) -> Iterator[Fault]:
    for place, item in enumerate(value if isinstance(value, list) else ()):
        yield from faults(item, schema["items"], f"{pointer}/{place}")


def _any_of(value: Any, schema: Schema, pointer: str) -> Iterator[Fault]:
    found = [list(faults(value, one, pointer)) for one in schema["anyOf"]]
    if all(found):
        yield Fault(pointer, " or ".join(f"{one[0].pointer} {one[0].detail}" for one in found))


def _enum(value: Any, schema: Schema, pointer: str) -> Iterator[Fault]:
    if value not in schema["enum"]:
        yield Fault(pointer, f"must be one of {', '.join(map(str, schema['enum']))}")


def _pattern(value: Any, schema: Schema, pointer: str) -> Iterator[Fault]:
    if isinstance(value, str) and not re.search(schema["pattern"], value):
        yield Fault(pointer, f"must match {schema['pattern']}")


def _bound(keyword: str, kind: type | tuple[type, ...], measure: Callable[[Any], float]) -> Check:
    is_least = keyword.startswith("min")
    what = "be" if measure is float else "have a length of"

    def check(value: Any, schema: Schema, pointer: str) -> Iterator[Fault]:
        if not isinstance(value, kind) or isinstance(value, bool):
            return
        size, bound = measure(value), schema[keyword]
        if size < bound if is_least else size > bound:
            yield Fault(pointer, f"must {what} at {'least' if is_least else 'most'} {bound}")

    return check


_CHECKS: Final[Mapping[str, Check]] = {
    "properties": _properties,
    "required": _required,
    "additionalProperties": _additional,
    "items": _items,
    "anyOf": _any_of,
    "enum": _enum,
    "pattern": _pattern,
    "minLength": _bound("minLength", str, len),
    "maxLength": _bound("maxLength", str, len),
    "minItems": _bound("minItems", list, len),
    "maxItems": _bound("maxItems", list, len),
    "minimum": _bound("minimum", (int, float), float),
    "maximum": _bound("maximum", (int, float), float),
}
