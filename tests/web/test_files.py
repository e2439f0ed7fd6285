"""Files: attached here, shown and saved there, byte for byte, and not lost with the network."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import httpx
from playwright.sync_api import expect

from tests.e2e.programs import Daemon
from tests.web.devices import Device, Open
from tests.web.documents import KEY, log, written

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def attach(one: Device, name: str, mime: str, data: bytes) -> None:
    """Choose a file as a person does."""
    with one.page.expect_file_chooser() as chosen:
        one.button("Attach files").click()
    chosen.value.set_files({"name": name, "mimeType": mime, "buffer": data})
    expect(one.page.get_by_role("list", name="Attached files")).to_contain_text(name)


def test_a_picture_and_a_file_reach_the_other_device(server: Daemon, device: Open, tmp_path: Path) -> None:
    """The picture is shown, the file is saved with its name, and the daemon has the bytes."""
    conversation = written(server.url, "Files")
    laptop, phone = (device().sign_in(at=f"/{conversation}") for _ in range(2))
    attach(laptop, "dot.png", "image/png", PICTURE)
    attach(laptop, "notes.txt", "text/plain", b"by the sea")
    laptop.say("Look.", ask=False)
    picture = phone.page.get_by_role("img", name="dot.png")
    expect(picture).to_be_visible()
    assert picture.evaluate("async (image) => { await image.decode(); return image.naturalWidth }") == 1
    with phone.page.expect_download() as saved:
        phone.button(re.compile("^Save notes.txt")).click()
    assert saved.value.suggested_filename == "notes.txt"
    saved.value.save_as(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_bytes() == b"by the sea"
    [message] = log(server.url, conversation)["messages"]
    media = [part for part in message["parts"] if part["type"] == "media"]
    assert [(part["name"], part["size"]) for part in media] == [("dot.png", len(PICTURE)), ("notes.txt", 10)]


def test_a_file_that_is_attached_offline_is_sent_later(server: Daemon, device: Open) -> None:
    """The message can be written meanwhile, and the bytes follow by themselves."""
    conversation = written(server.url, "Later", lambda made: made.append("user", "Show me."))
    one = device().sign_in(at=f"/{conversation}")
    one.shows("Show me.")
    one.stands("In sync")
    one.offline(cut=True)
    one.stands("Offline")
    data = b"written on a train"
    attach(one, "train.txt", "text/plain", data)
    one.say("Here.", ask=False)
    blob = f"{server.url}/api/blobs/{hashlib.sha256(data).hexdigest()}"
    assert httpx.get(blob, headers=KEY).status_code == 404
    one.offline(cut=False)
    one.stands("In sync")
    # The bytes go over HTTP beside the socket, which says nothing of them.
    one.until(lambda: httpx.get(blob, headers=KEY).content == data)
