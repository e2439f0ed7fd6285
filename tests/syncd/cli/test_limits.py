"""Limits as operators give them: flags above variables above the file, and what can't be is refused."""

from __future__ import annotations

from dataclasses import fields

import pytest
import typer

from syncd.cli.limits import limits_help, read_limits
from syncd.limits import Limits

MIB = 1024 * 1024


def test_without_a_word_they_are_the_defaults() -> None:
    """Nothing given, nothing changed."""
    assert read_limits([], {}) == Limits()


def test_flags_stand_above_variables_above_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each limit by itself; underscores and hyphens are the same."""
    monkeypatch.setenv("CONV_LIMIT_LAG_S", "2")
    monkeypatch.setenv("CONV_LIMIT_DOCUMENTS", "3")
    table = {"lag_s": 1, "documents": 1, "idle-s": 4.5}
    read = read_limits(["documents=7", "frame-bytes=1MiB", "frame-bytes=64 KiB"], table)
    assert read == Limits(lag_s=2.0, documents=7, idle_s=4.5, frame_bytes=65536)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", 5), ("5MiB", 5 * MIB), ("1.5kB", 1500), ("2 GiB", 2048 * MIB), ("10mb", 10_000_000)],
)
def test_sizes_have_units(text: str, expected: int) -> None:
    """Powers of 1,000 and of 1,024, as people write them."""
    assert read_limits([f"document-bytes={text}"], {}).document_bytes == expected


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("frames=1", "frame-bytes"),
        ("frame-bytes", "is not like frame-bytes=64MiB"),
        ("frame-bytes=big", "32MiB"),
        ("frame-bytes=0", "more than 0"),
        ("frame-bytes=-5", "is not like"),
        ("frame-bytes=5s", "is not like"),
        ("lag-s=1MiB", "is not like"),
        ("documents=1MiB", "is not like"),
        ("documents=0.5", "more than 0"),
    ],
)
def test_what_can_t_be_is_refused(flag: str, says: str) -> None:
    """The text says what is wrong, and how it is written."""
    with pytest.raises(typer.BadParameter, match=r".") as refused:
        read_limits([flag], {})
    assert says in str(refused.value)


def test_a_wrong_variable_or_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it stands is said: nobody looks for it on the command line."""
    with pytest.raises(typer.BadParameter, match=r"\[limits\] in the configuration"):
        read_limits([], {"lag_s": "soon"})
    monkeypatch.setenv("CONV_LIMIT_LAG", "1")
    with pytest.raises(typer.BadParameter, match="CONV_LIMIT_LAG"):
        read_limits([], {})


def test_the_help_has_all_of_them() -> None:
    """Every limit with its default, as one may give it back."""
    told = limits_help().removeprefix("Limits: ").removesuffix(".").split(", ")
    assert len(told) == len(fields(Limits))
    assert read_limits(told, {}) == Limits()
