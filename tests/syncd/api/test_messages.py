"""Messages over HTTP: written and merged, and what is refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from crdt_conv import Store
from crdt_conv.messages.fields import MAX_DEPTH
from syncd.view import message_json
from tests.replicas import texts

pytestmark = pytest.mark.anyio

PATH = "/api/conversations/c"


@pytest.fixture(autouse=True)
def _conversation(store: Store) -> None:
    store.create("Trip", conversation_id="c")


async def test_a_message_is_written(http: httpx.AsyncClient, store: Store) -> None:
    """It is answered as it stands in the log, on disk."""
    answer = await http.post(f"{PATH}/messages", json={"role": "user", "text": "Where?"})
    conversation = store.open("c")
    [message] = conversation.log().messages
    assert (answer.status_code, answer.json()) == (201, message_json(conversation, message))
    with Store(store.path, read_only=True) as reader:
        assert texts(reader.open("c").log().messages) == ["Where?"]


async def test_parts_are_kept(http: httpx.AsyncClient) -> None:
    """Ids that were given stay, others are drawn; keys that nobody knows are kept."""
    parts = [
        {"type": "tool_call", "id": "p1", "call_id": "1", "name": "f", "arguments": '{"a": 1}'},
        {
            "type": "media",
            "mime": "x/y",
            "sha256": "0" * 64,
            "size": 3,
            "name": "n",
            "further": [1, {"a": None}],
        },
    ]
    answer = await http.post(f"{PATH}/messages", json={"role": "assistant", "text": "Look", "parts": parts})
    text, call, media = answer.json()["parts"]
    assert (text["text"], call) == ("Look", parts[0])
    assert {key: value for key, value in media.items() if key != "id"} == parts[1]
    assert media["id"]


async def test_parents_and_branches_are_as_asked(http: httpx.AsyncClient, store: Store) -> None:
    """On a new branch with parents it forks; the fork merges back, once."""
    first = (await http.post(f"{PATH}/messages", json={"role": "user", "text": "one"})).json()["id"]
    fork = {"role": "user", "text": "two", "branch": "b", "parents": [first]}
    second = (await http.post(f"{PATH}/messages", json=fork)).json()
    assert (second["parents"], second["branch"]) == ([first], "b")
    merged = await http.post(f"{PATH}/merge", json={"from": "b"})
    assert (merged.status_code, merged.json()["role"]) == (201, "merge")
    again = await http.post(f"{PATH}/merge", json={"from": "b", "into": "main"})
    assert (again.status_code, again.content) == (204, b"")
    assert texts(store.open("c").log().messages) == ["one", "two", ""]


REFUSED: list[tuple[str, Any, str]] = [
    ("messages", {"text": "x"}, "#/role"),
    ("messages", {"role": "merge", "text": "x"}, "#/role"),
    ("messages", {"role": "user"}, "#"),
    ("messages", {"role": "user", "text": 3}, "#/text"),
    ("messages", {"role": "user", "text": None}, "#/text"),
    ("messages", {"role": "user", "parts": []}, "#/parts"),
    ("messages", {"role": "user", "parts": [{"type": "text", "text": 1}]}, "#/parts/0/text"),
    ("messages", {"role": "user", "parts": [{"text": "x"}]}, "#/parts/0/type"),
    ("messages", {"role": "user", "parts": [{"type": "opaque", "n": 2**60}]}, "#/parts/0"),
    ("messages", {"role": "user", "text": "x", "branch": "no"}, "#/branch"),
    ("messages", {"role": "user", "text": "x", "branch": ""}, "#/branch"),
    ("messages", {"role": "user", "text": "x", "parents": ["no"]}, "#/parents"),
    ("messages", {"role": "user", "text": "x", "parents": "no"}, "#/parents"),
    ("messages", {"role": "user", "text": "x", "a/b~c": 1}, "#/a~1b~0c"),
    ("messages", [], "#"),
    ("merge", {}, "#/from"),
    ("merge", {"from": "no"}, "#/from"),
    ("merge", {"from": "main", "into": "no"}, "#/into"),
]


@pytest.mark.parametrize(("where", "body", "pointer"), REFUSED)
async def test_what_is_wrong_is_named(
    http: httpx.AsyncClient, store: Store, where: str, body: Any, pointer: str
) -> None:
    """A request that is not as described is refused with the field, and writes nothing."""
    answer = await http.post(f"{PATH}/{where}", json=body)
    assert answer.status_code == 422
    assert pointer in [fault["pointer"] for fault in answer.json()["errors"]]
    assert len(store.open("c")) == 0


async def test_a_branch_of_unprintable_characters_is_refused(http: httpx.AsyncClient) -> None:
    """What the schema can't say, the document does."""
    answer = await http.post(f"{PATH}/messages", json={"role": "user", "text": "x", "branch": "a\nb"})
    assert (answer.status_code, "no branch name" in answer.json()["detail"]) == (422, True)


def nested(depth: int) -> bytes:
    """Return a message with lists in each other."""
    return b'{"role":"user","parts":[{"type":"opaque","x":%s%s}]}' % (b"[" * depth, b"]" * depth)


BODIES = [
    (b"{", "application/json", 400),
    (b"", "application/json", 400),
    (b"\xff", "application/json", 400),
    (b'{"role":"user","text":NaN}', "application/json", 400),
    (b'{"role":"user","parts":[{"type":"opaque","x":1e999}]}', "application/json", 400),
    (b'{"role":"user","text":"\\ud800"}', "application/json", 400),
    (nested(MAX_DEPTH), "application/json", 400),
    (nested(100_000), "application/json", 400),
    (b"[" * 1_000_000, "application/json", 400),
    (b'{"a":' * 200_000, "application/json", 400),
    (b"1" * 10_000, "application/json", 400),
    (b'{"role":"user","text":"x"}', "text/plain", 415),
    (b"role=user&text=x", "application/x-www-form-urlencoded", 415),
    (b" " * (8 * 1024 * 1024 + 1), "application/json", 413),
]


@pytest.mark.parametrize(("body", "media", "status"), BODIES)
async def test_hostile_bodies_are_refused(
    http: httpx.AsyncClient, store: Store, body: bytes, media: str, status: int
) -> None:
    """Nothing that a body holds is an error of the server."""
    answer = await http.post(f"{PATH}/messages", content=body, headers={"Content-Type": media})
    assert (answer.status_code, len(store.open("c"))) == (status, 0)


async def test_a_body_without_a_length_is_bounded_too(http: httpx.AsyncClient) -> None:
    """Chunks are counted as they come."""
    read = 0

    async def chunks() -> Any:
        nonlocal read
        for _ in range(1000):
            read += 1
            yield b" " * 100_000

    answer = await http.post(
        f"{PATH}/messages", content=chunks(), headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, read < 100) == (413, True)


async def test_compressed_bodies_are_refused(http: httpx.AsyncClient) -> None:
    """A small body that unpacks to a large one is none of ours."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert (await http.post(f"{PATH}/messages", content=b"{}", headers=headers)).status_code == 415


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "application/vnd.x+json", ""])
async def test_json_has_many_names(http: httpx.AsyncClient, media: str) -> None:
    """A media type that is JSON, or none at all, will do."""
    headers = {"Content-Type": media} if media else {}
    body = b'{"role":"user","text":"x"}'
    assert (await http.post(f"{PATH}/messages", content=body, headers=headers)).status_code == 201
