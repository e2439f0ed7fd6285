"""``conv import`` and ``conv export``, with and without a daemon."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path

from tests.e2e.programs import conv, conv_json, daemon

PNG = b"\x89PNG\r\n\x1a\nthe sea"
PICTURE = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-A1"}
CHAT = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "To the sea."}]


def test_in_and_out_again(tmp_path: Path) -> None:
    """What came in goes out in every format, and JSON comes back with the same digest."""
    db, other, folder = tmp_path / "chats.db", tmp_path / "other.db", tmp_path / "files"
    folder.mkdir()
    (folder / "settings.json").write_text("{}")
    (folder / "chat.jsonl").write_text(json.dumps({"messages": CHAT}))
    [trip] = conv_json(db, "import", str(folder / "chat.jsonl"))["conversations"]
    assert (trip["messages"], trip["program"], trip["title"]) == (2, "chat", "Where?")
    [again] = conv_json(db, "import", str(folder))["conversations"]
    assert (again["id"], again["messages"]) == (trip["id"], 0)
    exported = [
        {key: m[key] for key in m if m[key]}
        for m in json.loads(conv(db, "export", trip["id"], "-f", "jsonl"))["messages"]
    ]
    assert exported == CHAT
    assert "To the sea." in conv(db, "export", trip["id"], "--format", "markdown")
    conv(db, "export", trip["id"], "--output", str(tmp_path / "trip.json"))
    conv(other, "import", str(tmp_path / "trip.json"))
    assert conv_json(other, "show", trip["id"]) == conv_json(db, "show", trip["id"])
    conv(db, "export", trip["id"], "-f", "ydoc", "-o", str(tmp_path / f"{trip['id']}.ydoc"))
    conv(tmp_path / "third.db", "import", str(tmp_path / f"{trip['id']}.ydoc"))
    assert conv_json(tmp_path / "third.db", "show", trip["id"]) == conv_json(db, "show", trip["id"])


def test_importing_through_a_daemon(tmp_path: Path) -> None:
    """Where a daemon holds the store, what is imported is there when the command ends."""
    (tmp_path / "chat.json").write_text(json.dumps(CHAT))
    with daemon(tmp_path / "chats.db", "--no-executor") as server:
        [trip] = conv_json(server.db, "import", str(tmp_path / "chat.json"))["conversations"]
        assert [m["text"] for m in conv_json(server.db, "show", trip["id"])["messages"]] == [
            "Where?",
            "To the sea.",
        ]
        [again] = conv_json(server.db, "import", str(tmp_path / "chat.json"))["conversations"]
        assert again["messages"] == 0


def test_pictures_of_a_zip_reach_the_daemon(tmp_path: Path) -> None:
    """What lies in a zip beside its conversations is in the daemon's store, and goes out with them."""
    content = {"content_type": "multimodal_text", "parts": [PICTURE, "See"]}
    message = {"id": "q", "author": {"role": "user"}, "content": content}
    value = {"id": "c1", "title": "Trip", "mapping": {"q": {"parent": None, "message": message}}}
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("conversations.json", json.dumps([value]))
        archive.writestr("file-A1-sea.png", PNG)
    with daemon(tmp_path / "chats.db", "--no-executor") as server:
        [trip] = conv_json(server.db, "import", str(tmp_path / "export.zip"))["conversations"]
    exported = json.loads(conv(tmp_path / "chats.db", "export", trip["id"]))
    assert [base64.b64decode(data) for data in exported["blobs"].values()] == [PNG]


def test_one_bad_file_keeps_no_other_out(tmp_path: Path) -> None:
    """A file that is nothing is named, the others come in, and the command ends with 1."""
    db = tmp_path / "chats.db"
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").write_text(json.dumps(CHAT))
    [error] = conv(db, "import", str(tmp_path / "a.json"), str(tmp_path / "b.json"), code=1).splitlines()
    assert "a.json" in error
    assert [info["title"] for info in conv_json(db, "ls")] == ["Where?"]


def test_one_bad_conversation_keeps_no_other_of_its_file_out(tmp_path: Path) -> None:
    """An export of a later version is refused by name; what stands beside it in the file comes in."""
    later = {"format": "crdt-conv", "version": 99, "id": "01J9ZZZZZZZZZZZZZZZZZZZZZZ", "messages": []}
    (tmp_path / "both.json").write_text(json.dumps([later, {"messages": CHAT}]))
    [error] = conv(tmp_path / "chats.db", "import", str(tmp_path / "both.json"), code=1).splitlines()
    assert "both.json: 01J9" in error
    assert [info["title"] for info in conv_json(tmp_path / "chats.db", "ls")] == ["Where?"]


def test_a_file_that_is_there_is_not_lost(tmp_path: Path) -> None:
    """An export never writes over anything, and says what to do."""
    db, file = tmp_path / "chats.db", tmp_path / "trip.md"
    file.write_text("mine")
    trip = conv_json(db, "new")["id"]
    assert "is there already" in conv(db, "export", trip, "-o", str(file), code=1)
    assert file.read_text() == "mine"


def test_what_is_no_address_is_wrong_usage(tmp_path: Path) -> None:
    """``conv sync`` says what it wants before it asks anybody."""
    for wrong in ("nonsense", "http://", "ftp://host/"):
        assert "http://host:port" in conv(tmp_path / "chats.db", "sync", wrong, code=2)
