"""Where the recorded exchanges are: beside the project, never in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "provider-exchanges"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that was really sent, and what came back."""

    provider: str
    path: str
    body: Mapping[str, Any]
    status: int
    events: list[dict[str, Any]]
    is_stream: bool
    content: bytes


def files(*folders: str) -> list[Any]:
    """Return every recording of some folders as a parameter; one that is skipped, where they are not here."""
    found = [path for folder in folders for path in sorted((FOLDER / folder).glob("*.json"))]
    if not found:
        reason = "the recorded exchanges are not beside the project"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in found]


def exchanges(path: Path, *apis: str) -> Iterator[Exchange]:
    """Yield the generating exchanges of a file, of these APIs."""
    for raw in json.loads(path.read_text())["exchanges"]:
        if raw["kind"] == "generate" and (not apis or raw["api"] in apis):
            yield _exchange(raw)


def _exchange(raw: Mapping[str, Any]) -> Exchange:
    response = raw["response"]
    streamed = [event.get("data") for event in response["sse"] or ()]
    whole = [response["body"]] if response["body"] is not None else []
    events = [event for event in streamed or whole if isinstance(event, dict)]
    return Exchange(
        raw["provider"],
        raw["request"]["path"],
        raw["request"]["body"],
        response["status"],
        events,
        bool(streamed),
        json.dumps(response["body"]).encode(),
    )
