"""
Limits as operators give them: ``--limit frame-bytes=64MiB``, ``CONV_LIMIT_FRAME_BYTES``, or the TOML file.

Flags stand above the environment, and that above the table ``[limits]`` of the file, each limit by itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Final

import typer

from syncd.limits import Limits

PREFIX: Final = "CONV_LIMIT_"
_DEFAULTS: Final = {each.name: each.default for each in fields(Limits)}
_UNITS: Final = {
    "": 1,
    **{unit: 1000**power for power, unit in enumerate(("kb", "mb", "gb"), 1)},
    **{unit: 1024**power for power, unit in enumerate(("kib", "mib", "gib"), 1)},
}
_NUMBER: Final = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([a-zA-Z]*)")


def read_limits(flags: Sequence[str], table: Mapping[str, object]) -> Limits:
    """
    Return the limits that apply.

    Args:
        flags: ``NAME=VALUE``, the last of a name counts.
        table: What stands in the file.

    Raises:
        BadParameter: A name that is none, or a value that can't be; the text says where it stands.
    """
    given: dict[str, int | float] = {}
    for where, name, text in (*_of_table(table), *_of_environment(), *_of_flags(flags)):
        key = name.lower().replace("-", "_")
        if key not in _DEFAULTS:
            known = ", ".join(each.replace("_", "-") for each in _DEFAULTS)
            raise typer.BadParameter(f"{where}: no limit is called {name!r}: {known}", param_hint="--limit")
        given[key] = _value(key, text, where)
    return Limits(**given)  # type: ignore[arg-type] # whole numbers where they must be: see _value


def _of_flags(flags: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for flag in flags:
        name, is_given, text = flag.partition("=")
        if not is_given:
            raise typer.BadParameter(f"{flag!r} is not like frame-bytes=64MiB", param_hint="--limit")
        yield "--limit", name.strip(), text


def _of_environment() -> Iterator[tuple[str, str, str]]:
    for variable, text in os.environ.items():
        if variable.startswith(PREFIX):
            yield variable, variable.removeprefix(PREFIX), text


def _of_table(table: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    for name, value in table.items():
        yield "[limits] in the configuration", name, str(value)


def _value(key: str, text: str, where: str) -> int | float:
    """Read a number with its unit; sizes and counts are whole, times may have a fraction."""
    is_time, is_size = key.endswith("_s") and "per" not in key, "bytes" in key
    found = _NUMBER.fullmatch(text.strip())
    unit = found[2].lower() if found is not None else ""
    allowed = {"", "s"} if is_time else set(_UNITS) if is_size else {""}
    if found is None or unit not in allowed:
        like = "10 or 2.5" if is_time else "33554432, 32MiB or 500kB" if is_size else "1000"
        raise typer.BadParameter(f"{where}: {key}={text!r} is not like {like}", param_hint="--limit")
    number = float(found[1]) * (1 if is_time else _UNITS[unit])
    value = number if isinstance(_DEFAULTS[key], float) else int(number)
    if value <= 0:
        raise typer.BadParameter(f"{where}: {key}={text!r} must be more than 0", param_hint="--limit")
    return value


def limits_help() -> str:
    """Return what limits there are, with their defaults, for a help text."""
    shown = (f"{name.replace('_', '-')}={_shown(name, default)}" for name, default in _DEFAULTS.items())
    return "Limits: " + ", ".join(shown) + "."


def _shown(name: str, default: object) -> str:
    assert isinstance(default, int | float)
    if "bytes" in name and default % (1024 * 1024) == 0:
        return f"{default / (1024 * 1024):.0f}MiB"
    return f"{default:g}"
