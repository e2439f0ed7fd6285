"""``conv redact``, ``verify``, ``explain``, and what ``conv show`` tells of hidden fields."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from crdt_conv import HiddenField, Store
from tests.crdt_conv import handmade as by_hand
from tests.e2e.programs import conv, conv_json, daemon
from tests.e2e.terminals import terminal

SECRET = "the code is 8531"


def bytes_of(db: Path) -> bytes:
    """Return everything that a store keeps on disk."""
    return b"".join(file.read_bytes() for file in db.parent.glob(f"{db.name}*") if file.is_file())


def test_what_is_redacted_is_in_no_file(tmp_path: Path) -> None:
    """The command says it is done when the bytes are gone."""
    db = tmp_path / "chats.db"
    trip = conv_json(db, "new")["id"]
    said = conv_json(db, "append", trip, SECRET)
    assert SECRET.encode() in bytes_of(db)
    redacted = conv_json(db, "redact", trip, said["id"])
    assert (redacted["status"], redacted["text"]) == ("redacted", "")
    assert SECRET.encode() not in bytes_of(db)
    assert "no message nobody" in conv(db, "redact", trip, "nobody", code=1)


def test_copies_are_redacted_unless_they_are_kept(tmp_path: Path) -> None:
    """What was picked from a message goes with it, and stays with ``--keep-copies``."""
    db = tmp_path / "chats.db"
    for flags, status in (((), "redacted"), (("--keep-copies",), "complete")):
        with Store(db) as store:
            conversation = store.create()
            said = conversation.append("user", SECRET)
            (copy,) = conversation.cherry_pick([said.id])
            name = conversation.id
        assert ("made from it (1)" in conv(db, "redact", name, said.id, *flags)) == (status == "redacted")
        shown = {m["id"]: m["status"] for m in conv_json(db, "show", name)["messages"]}
        assert shown == {said.id: "redacted", copy.id: status}


def test_redacting_through_a_daemon(tmp_path: Path) -> None:
    """A message is redacted where a daemon holds the store, too."""
    with daemon(tmp_path / "chats.db", "--no-executor") as server:
        trip = conv_json(server.db, "new")["id"]
        said = conv_json(server.db, "append", trip, SECRET)
        conv(server.db, "redact", trip, said["id"][-6:])
        [shown] = conv_json(server.db, "show", trip)["messages"]
    assert (shown["status"], shown["parts"]) == ("redacted", [])


def test_verify_tells_programs_and_people(tmp_path: Path) -> None:
    """Nothing wrong ends with 0; what is not shown is named, and ends with 1."""
    db = tmp_path / "chats.db"
    with Store(db) as store:
        conversation = store.create()
        conversation.append("user", "hello")
        assert "nothing is wrong" in conv(db, "verify", conversation.id)
        conversation.receive(by_hand.entry(7, "bad", role=by_hand.NULL))
        name = conversation.id
    assert conv(db, "verify", name, code=1) == ""
    assert conv(db, "show", name, "--json")


def test_hidden_fields_are_shown_where_asked_for(tmp_path: Path) -> None:
    """``--hidden`` adds them to JSON, and tells people what there is, not what is in it."""
    db = tmp_path / "chats.db"
    with Store(db) as store:
        conversation = store.create()
        sealed = HiddenField("anthropic", "anthropic", "signature", b"\x00\xff")
        conversation.append("assistant", "A tent.", hidden=[sealed])
    [message] = conv_json(db, "show", conversation.id, "--hidden")["messages"]
    assert message["hidden"][0]["data_base64"] == "AP8="
    assert "hidden" not in conv_json(db, "show", conversation.id)["messages"][0]
    assert "signature" in conv(db, "show", conversation.id, "--hidden")


def test_explain_shows_what_would_be_sent(tmp_path: Path) -> None:
    """The request stands in it whole, for programs and for people, and no key is needed."""
    db = tmp_path / "chats.db"
    trip = conv_json(db, "new")["id"]
    conv_json(db, "append", trip, "Where shall we go?")
    asked = ("explain", trip, "--adapter", "openai-chat", "--model", "m")
    shown = conv_json(db, *asked)
    assert shown["request"]["body"]["messages"] == [{"role": "user", "content": "Where shall we go?"}]
    assert "Where shall we go?" in conv(db, *asked)
    assert "it is one of" in conv(db, "explain", trip, "--adapter", "crow", code=1)


def test_search_finds_the_same_with_and_without_a_daemon(tmp_path: Path) -> None:
    """Titles come first, then messages with what was found marked; the last one written is found too."""
    db = tmp_path / "chats.db"
    trip = conv_json(db, "new", "--title", "Lisbon")["id"]
    said = conv_json(db, "append", trip, "We love the trams of Lisbon.")
    alone = conv_json(db, "search", "lisbon")
    assert [result["message"] for result in alone["results"]] == [None, said["id"]]
    assert {"text": "Lisbon", "found": True} in alone["results"][1]["snippet"]
    assert "trams" in conv(db, "search", "trams", "lisbon")
    assert "nothing holds" in conv(db, "search", "porto")
    with daemon(db, "--no-executor"):
        assert conv_json(db, "search", "lisbon") == alone


@pytest.mark.parametrize("by_daemon", [False, True])
def test_what_is_archived_is_listed_where_it_is_asked_for(tmp_path: Path, *, by_daemon: bool) -> None:
    """``ls`` leaves it out and says so; it is there where it is asked for, and comes back."""
    db = tmp_path / "chats.db"
    away, here = (conv_json(db, "new", "--title", title)["id"] for title in ("Away", "Here"))
    with daemon(db, "--no-executor") if by_daemon else nullcontext():
        assert conv_json(db, "archive", away) == {"id": away, "archived": True}
        assert [info["id"] for info in conv_json(db, "ls")] == [here]
        assert [(i["id"], i["archived"]) for i in conv_json(db, "ls", "--archived")] == [(away, True)]
        assert {info["id"] for info in conv_json(db, "ls", "--all")} == {here, away}
        assert "(archived)" in conv(db, "ls", "--all")
        assert conv(db, "archive", away, "--undo").strip() == f"{away} is back"
        assert {info["id"] for info in conv_json(db, "ls")} == {here, away}


def test_in_a_pipe_a_row_is_a_line(tmp_path: Path) -> None:
    """However long a title is: what follows finds an id and its title in one line, whole."""
    db, title = tmp_path / "chats.db", "a long title " * 30
    trip = conv_json(db, "new", "--title", title)["id"]
    _, line = conv(db, "ls", environ={"COLUMNS": "40"}).splitlines()
    assert line.split()[0] == trip
    assert title.strip() in line


def test_a_row_of_the_tree_is_a_line(tmp_path: Path) -> None:
    """However long a message is, the picture keeps its shape; a redacted one says so."""
    db = tmp_path / "chats.db"
    trip = conv_json(db, "new")["id"]
    said = conv_json(db, "append", trip, "word " * 200)
    conv_json(db, "append", trip, "gone")
    conv(db, "redact", trip, conv_json(db, "show", trip)["messages"][1]["id"], "--yes")
    first, second = conv(db, "show", trip, "--tree", environ={"COLUMNS": "40"}).splitlines()
    assert first.startswith(f"● {said['id'][-6:]} main ann: word word")
    assert first.endswith("…")
    assert second.endswith("(redacted)")
    with terminal(db, "show", trip, "--tree") as at:
        assert at.ended() == 0
    narrow, _ = at.seen.splitlines()
    assert narrow.endswith("…")
    assert first.startswith(narrow[:-1])
