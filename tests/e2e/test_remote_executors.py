"""Executors that are clients of a daemon, over real sockets: one answers, and says so to all."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio
import pytest

from adapters import Executor
from adapters.answers import wait_until_over
from crdt_conv import Store, Target
from syncd.client import RemoteGrants, SyncClient
from tests.adapters.fakes import STOP, ScriptedAdapter, says
from tests.syncd.servers import TOKEN, serving

pytestmark = pytest.mark.anyio


async def test_two_executors_make_one_call() -> None:
    """The daemon grants the run to one of them; the other, and the device that asked, see its answer."""
    adapters = [ScriptedAdapter([says("Rome."), STOP]) for _ in range(2)]
    with Store(":memory:") as kept, Store(":memory:") as own:
        async with serving(kept) as url, AsyncExitStack() as stack:
            for adapter in adapters:
                store = stack.enter_context(Store(":memory:"))
                client = await stack.enter_async_context(SyncClient(url, token=TOKEN))
                conversation = store.join("trip")
                await client.sync(conversation)
                executor = Executor(store, [adapter], grants=RemoteGrants(client))
                await stack.enter_async_context(executor)
            device = await stack.enter_async_context(SyncClient(url, token=TOKEN))
            asked = own.join("trip")
            await device.sync(asked)
            asked.append("user", "Where?")
            run = asked.runs.request(Target("scripted"))
            with anyio.fail_after(20):
                done = await wait_until_over(asked, run.id)
                await device.sync(asked)
            # Whoever was refused asks again before long, and finds that it is over.
            epoch = kept.leases.acquire(f"run:{run.id}", "somebody", 1)
    assert (done.state, done.epoch, asked.log().messages[-1].text) == ("complete", 1, "Rome.")
    assert sum(len(adapter.calls) for adapter in adapters) == 1
    assert epoch in {2, None}


async def test_without_a_daemon_a_device_answers_itself() -> None:
    """Nobody can be asked: a run of this device is answered, one of another device waits."""
    adapter = ScriptedAdapter([says("Rome."), STOP])
    with Store(":memory:", device="here") as store, Store(":memory:", device="there") as other:
        theirs, ours = store.join("trip"), other.join("trip")
        ours.append("user", "Who?")
        waiting = ours.runs.request(Target("scripted"))
        theirs.receive(ours.encode(), "there")
        async with (
            SyncClient("ws://127.0.0.1:9", token=TOKEN) as client,
            Executor(store, [adapter], grants=RemoteGrants(client)) as executor,
        ):
            executor.offer(theirs)
            theirs.append("user", "Where?")
            run = theirs.runs.request(Target("scripted"))
            with anyio.fail_after(20):
                done = await wait_until_over(theirs, run.id)
        assert (done.state, theirs.runs[waiting.id].state, len(adapter.calls)) == ("complete", "requested", 1)
