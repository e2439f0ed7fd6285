"""Stock clients with rights, against the real daemon: less than all, for a time, and taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.programs import (
    DIALECTS,
    HOCUSPOCUS,
    TOKEN,
    Connect,
    Daemon,
    StockClient,
    conv_json,
    daemon,
    heard,
    node_is_missing,
    say,
    syncd,
    token_for,
)

pytestmark = pytest.mark.skipif(bool(node_is_missing()), reason=node_is_missing())

ROOM = "trip"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Daemon]:
    """Run a daemon that has keys for tokens from its start on."""
    db = tmp_path / "chats.db"
    token_for(db, "nobody")
    with daemon(db, "--no-executor") as running:
        yield running


def refusal(client: StockClient) -> str:
    """Wait until a client is told that an update was refused; returns why."""
    if client.dialect == "y-websocket":
        return str(client.event("warned")["text"])
    told = json.loads(client.event("stateless")["payload"])
    assert told["status"] == "permission_denied"
    return str(told["reason"])


def test_who_may_only_read_is_told_and_harms_nobody(server: Daemon, connect: Connect) -> None:
    """What a reader writes reaches nobody, and it hears why; it reads on, and what it wrote is unsaved."""
    owner = connect(ROOM)
    reader = connect(ROOM, token=token_for(server.db, "ann", trip="read"))
    first = say(owner, "hello")
    assert heard(reader, 1) == ["hello"]
    reader.do("type", text="mine")
    say(reader, "may I?", first)
    assert "you may only read" in refusal(reader)
    say(owner, "again", first)
    assert sorted(heard(reader, 3)) == ["again", "hello", "may I?"]
    assert sorted(heard(owner, 2)) == ["again", "hello"]
    assert (owner.do("state")["text"], len(conv_json(server.db, "show", ROOM)["messages"])) == ("", 2)
    if reader.dialect != "y-websocket":
        assert (reader.do("state")["scope"], reader.do("state")["unsynced"]) == ("readonly", True)


@pytest.mark.parametrize("dialect", HOCUSPOCUS)
def test_rights_differ_between_documents_of_one_socket(server: Daemon, connect: Connect) -> None:
    """One is written, one read, one not opened; none of it gets in the way of the others."""
    token = token_for(server.db, "ann", ours="write", theirs="read")
    client, owner = connect("ours", "theirs", "hidden", token=token), connect("ours", "theirs")
    scopes = {told["room"]: told["scope"] for told in (client.event("authenticated") for _ in range(2))}
    assert scopes == {"ours": "read-write", "theirs": "readonly"}
    assert client.event("denied")["room"] == "hidden"
    client.do("type", text="x", room=1)
    assert "you may only read" in refusal(client)
    say(client, "mine")
    assert heard(owner, 1) == ["mine"]
    say(owner, "yours", room=1)
    assert heard(client, 1, room=1) == ["yours"]


def test_a_token_that_ends_is_renewed_or_its_client_leaves(server: Daemon, start: Connect) -> None:
    """Hocuspocus' clients are asked for a new one: who shows it stays, the others hear that it ended."""
    short = {dialect: token_for(server.db, dialect, lifetime_s=7, trip="write") for dialect in DIALECTS}
    stays = [start(dialect, ROOM, token=short[dialect]) for dialect in HOCUSPOCUS]
    leaves = [start(dialect, ROOM, token=short[dialect]) for dialect in DIALECTS]
    for client in stays:
        client.event("authenticated")
        client.do("next", token=token_for(server.db, "renewed", trip="write"))
    for client in stays:
        client.event("asked")
        client.event("authenticated")
    assert leaves[0].event("closed")["code"] == 4401
    for client in leaves[1:]:
        assert "expired" in client.event("denied")["reason"]
    # What ended the others was looked at for these, too.
    first = say(stays[0], "still here")
    assert heard(stays[1], 1) == ["still here"]
    say(stays[1], "me too", first)
    assert heard(stays[0], 2)


def test_who_is_revoked_is_out_at_once(server: Daemon, connect: Connect) -> None:
    """The socket closes with 4401, the client is told, and what it goes on writing reaches nobody."""
    revoked = connect(ROOM, token=token_for(server.db, "ann", trip="write"))
    stays = connect(ROOM, token=token_for(server.db, "bob", trip="write"))
    first = say(revoked, "hello")
    assert heard(stays, 1) == ["hello"]
    syncd(server.db, "revoke", "--sub", "ann")
    if revoked.dialect != "y-websocket":
        assert "revoked" in revoked.event("denied")["reason"]
    closed = revoked.event("closed")
    assert (closed["code"], "revoked" in closed["reason"]) == (4401, True)
    assert revoked.do("state")["stopped"]
    say(revoked, "not heard", first)
    say(stays, "heard", first)
    assert len(conv_json(server.db, "show", ROOM)["messages"]) == 2


@pytest.mark.parametrize("dialect", HOCUSPOCUS)
def test_who_comes_to_be_a_reader_and_back_has_all_of_it_stored(server: Daemon, connect: Connect) -> None:
    """With a token to read writes are refused; with the first one again they are stored, and said to be."""
    token = token_for(server.db, "ann", trip="write")
    client, owner = connect(ROOM, token=token), connect(ROOM)
    client.do("settled")
    client.do("token", token=token_for(server.db, "ann", trip="read"))
    assert [client.event("authenticated")["scope"] for _ in range(2)] == ["read-write", "readonly"]
    for _ in range(3):
        client.do("type", text="x")
    assert "you may only read" in refusal(client)
    assert (client.do("state")["unsynced"], owner.do("state")["text"]) == (True, "")
    client.do("token", token=token)
    assert client.event("authenticated")["scope"] == "read-write"
    client.do("settled")
    owner.do("typed", length=3)


def test_who_is_in_a_conversation_that_is_deleted_is_told(server: Daemon, connect: Connect) -> None:
    """Told that it is gone, for good; it can't be brought back by who still has it."""
    client = connect(ROOM)
    say(client, "hello")
    client.do("settled")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert httpx.delete(f"{server.url}/api/conversations/{ROOM}", headers=headers).status_code == 204
    if client.dialect == "y-websocket":
        assert client.event("closed")["code"] == 4404
    else:
        assert json.loads(client.event("stateless")["payload"])["status"] == "evicted"
        assert "deleted" in client.event("closed")["reason"]
        client.do("token", token=TOKEN)
        assert "deleted" in client.event("denied")["reason"]
    say(client, "are you there?")
    assert client.do("state")["stopped"]
    assert conv_json(server.db, "ls") == []
