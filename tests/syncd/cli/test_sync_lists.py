"""Which conversations ``conv sync`` brings together."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.applications import Starlette

from crdt_conv import Store
from syncd import api
from syncd.cli.sync import _both, list_remote
from syncd.rooms.follower import Follower
from tests.syncd.api.conftest import TOKEN, FakeGate, served

pytestmark = pytest.mark.anyio


async def test_every_page_of_the_daemon_s_list_is_read(tmp_path: Path) -> None:
    """Those behind the first page are synced, too; what was deleted here is left alone."""
    with Store(tmp_path / "daemon.db") as remote, Store(":memory:") as local:
        for number in range(205):
            remote.create(conversation_id=f"c{number}")
        local.create(conversation_id="c7")
        local.delete("c7")
        mine = local.create().id
        app = Starlette(routes=api.routes())
        app.state.hub = SimpleNamespace(store=remote, follower=Follower(remote), is_settled=lambda _: True)
        app.state.gate = FakeGate()
        async with served(app) as url:
            assert sorted(await list_remote(url, TOKEN, 5)) == sorted(f"c{number}" for number in range(205))
            workspace = cast("Any", SimpleNamespace(store=local))
            both = await _both(workspace, url, TOKEN, 5)
    assert both[0] == mine
    assert {*both} == {mine, *(f"c{number}" for number in range(205) if number != 7)}
