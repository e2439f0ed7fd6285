"""Pictures and other files that lie beside a conversation, in its zip or its folder."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from crdt_conv import Conversation, Store
from syncd.interchange import Findings
from tests.syncd.interchange.reading import shape, take_in

PNG = b"\x89PNG\r\n\x1a\nuploaded"
WEBP = b"RIFF\0\0\0\0WEBPdrawn"
WAV = b"RIFF\0\0\0\0WAVEspoken"
FILES = {
    "file-AbC123-holiday.png": PNG,
    "dalle-generations/file-Drawn9-0b1c.webp": WEBP,
    "c1/audio/file_00aa-1f2e.wav": WAV,
    "file-Unused-other.png": b"nobody's",
}


def message(key: str, role: str, parts: list[Any], **metadata: Any) -> dict[str, Any]:
    """Return a message of ChatGPT's."""
    content = {"content_type": "multimodal_text", "parts": parts}
    return {"id": key, "author": {"role": role}, "content": content, "metadata": metadata}


def pointer(kind: str, reference: str) -> dict[str, Any]:
    """Return what ChatGPT has in the place of a file."""
    return {"content_type": f"{kind}_asset_pointer", "asset_pointer": reference, "size_bytes": 1}


SPOKEN = {
    "content_type": "real_time_user_audio_video_asset_pointer",
    "frames_asset_pointers": [],
    "audio_asset_pointer": pointer("audio", "sediment://file_00aa"),
}
UPLOADED = {"id": "file-AbC123", "name": "holiday.png", "mime_type": "image/png", "size": 1}
GRAPH = {"messages": [{"message_type": "image", "image_url": "file-service://file-Gone"}]}
MESSAGES = [
    message("q", "user", [pointer("image", "file-service://file-AbC123"), "See:"], attachments=[UPLOADED]),
    message("d", "tool", [pointer("image", "file-service://file-Drawn9")]),
    message("s", "user", [SPOKEN, {"content_type": "audio_transcription", "text": "And this?"}]),
    message("g", "tool", ["plotted"], aggregate_result=GRAPH),
]


def export() -> str:
    """Return a conversation with four files, one of which is nowhere."""
    parents = [None, *(m["id"] for m in MESSAGES)]
    nodes = zip(MESSAGES, parents, strict=False)
    mapping = {m["id"]: {"id": m["id"], "parent": parent, "message": m} for m, parent in nodes}
    return json.dumps([{"conversation_id": "c1", "title": "Trip", "mapping": mapping, "current_node": "g"}])


@pytest.fixture(params=["zip", "folder"])
def exported(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return the export as it comes, and unpacked."""
    contents = {"conversations.json": export().encode(), **FILES}
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
            for name, data in contents.items():
                archive.writestr(name, data)
        return tmp_path / "export.zip"
    for name, data in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path / "conversations.json"


def media(conversation: Conversation) -> list[tuple[str, str, bytes | None]]:
    """Return the type, name and bytes of all media."""
    parts = (part for m in conversation.log().messages for part in m.parts if part.type == "media")
    contents = [part.content for part in parts]
    return [
        (str(c["mime"]), str(c["name"]), conversation.blob(str(c["sha256"])) if "sha256" in c else None)
        for c in contents
    ]


def test_pictures_and_recordings_become_blobs(exported: Path) -> None:
    """Every file that is there is a blob in its place, once; one that is not keeps its place and is told."""
    findings = Findings()
    [trip] = take_in(Store(":memory:"), exported, findings)
    assert media(trip) == [
        ("image/png", "holiday.png", PNG),
        ("image/webp", "file-Drawn9-0b1c.webp", WEBP),
        ("audio/wav", "file_00aa-1f2e.wav", WAV),
        ("image/*", "", None),
    ]
    assert shape(trip)[0] == ("user", "media", "text")
    assert findings.damaged == {"a file that is named and not there": 1}
    assert not findings.unknown
    if exported.suffix == ".zip":
        assert findings.left_out == {"*.png in the zip": 1}


def test_the_names_that_files_had(tmp_path: Path) -> None:
    """Since 2026 all files of an export are ``.dat``; what they were called stands beside them."""
    asked = message(
        "q", "user", [pointer("image", "sediment://file_1"), pointer("image", "sediment://file_2")]
    )
    value = {"id": "c1", "mapping": {"q": {"parent": None, "message": asked}}, "current_node": "q"}
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("conversations-000.json", json.dumps([value]))
        archive.writestr("conversation_asset_file_names.json", json.dumps({"file_1.dat": "sea.csv"}))
        archive.writestr("file_1.dat", b"heic")
        archive.writestr("file_2.dat", PNG)
    [trip] = take_in(Store(":memory:"), tmp_path / "export.zip")
    assert media(trip) == [("text/csv", "sea.csv", b"heic"), ("image/png", "file_2.dat", PNG)]


def librechat(filepath: str) -> dict[str, Any]:
    """Return a conversation of LibreChat's with a file."""
    file = {"file_id": "f1", "filename": "a.png", "filepath": filepath, "type": "image/png"}
    question = {"messageId": "q", "isCreatedByUser": True, "text": "See", "files": [file]}
    return {"conversationId": "c1", "messages": [question]}


def test_a_file_by_its_path(tmp_path: Path) -> None:
    """LibreChat names a file by its path below the folder."""
    (tmp_path / "images" / "u1").mkdir(parents=True)
    (tmp_path / "images" / "u1" / "f1.png").write_bytes(PNG)
    (tmp_path / "chat.json").write_text(json.dumps(librechat("/images/u1/f1.png")))
    [trip] = take_in(Store(":memory:"), tmp_path / "chat.json")
    assert media(trip) == [("image/png", "a.png", PNG)]


def test_an_address_is_no_file_that_is_missing(tmp_path: Path) -> None:
    """A picture on the web keeps its address, and nobody is told that it is not there."""
    findings = Findings()
    (tmp_path / "chat.json").write_text(json.dumps(librechat("https://a.example/b.png")))
    [trip] = take_in(Store(":memory:"), tmp_path / "chat.json", findings)
    assert trip.log().messages[0].parts[-1].content["source"] == "https://a.example/b.png"
    assert not findings.damaged


@pytest.mark.parametrize(("way", "found"), [("a/b/c", PNG), ("a/b/c/d", None)])
def test_a_folder_is_not_searched_to_its_bottom(tmp_path: Path, way: str, found: bytes | None) -> None:
    """Beside a file in somebody's home, three folders below are looked at, and nothing deeper."""
    (tmp_path / way).mkdir(parents=True)
    (tmp_path / way / "f1.png").write_bytes(PNG)
    (tmp_path / "chat.json").write_text(json.dumps(librechat(f"{way}/f1.png")))
    [trip] = take_in(Store(":memory:"), tmp_path / "chat.json")
    assert media(trip) == [("image/png", "a.png", found)]


@pytest.mark.parametrize("way", ["../secret.png", "/etc/hostname", "link.png", "file:///etc/hostname"])
def test_a_path_leads_nowhere_else(tmp_path: Path, way: str) -> None:
    """A file from a stranger can't name what lies outside of its folder, nor by a link."""
    inside = tmp_path / "export"
    inside.mkdir()
    (tmp_path / "secret.png").write_bytes(PNG)
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "chat.json").write_text(json.dumps(librechat(way)))
    [trip] = take_in(Store(":memory:"), inside / "chat.json")
    assert media(trip) == [("image/png", "a.png", None)]
