"""An executor that dies in the middle of an answer, and the next one, which goes on."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from adapters import Executor, LlamaCpp
from adapters.answers import wait_until_over
from adapters.llamacpp.tokens import decode_chunk
from crdt_conv import Conversation, Store, Target

pytestmark = pytest.mark.anyio

# Says so when a few words have come. Fields are sealed often, so that the answer may be short.
DYING = """
import pathlib, sys, anyio
from adapters import Executor, LlamaCpp
from adapters.llamacpp import ingest
from crdt_conv import Store

ingest.SEAL_EVERY = 4

async def main():
    with Store(pathlib.Path(sys.argv[1])) as store:
        conversation = store.open("fox")
        adapter = LlamaCpp(context_tokens=512, threads=1, checkpoints=pathlib.Path(sys.argv[2]))
        async with Executor(store, [adapter], ttl_s=0.5, renew_s=0.2) as executor:
            executor.offer(conversation)
            while True:
                await anyio.sleep(0.01)
                [run] = conversation.runs.all()
                if run.outputs and len(conversation.message(run.outputs[-1]).text) > 40:
                    print("now", flush=True)
                    await anyio.sleep_forever()

anyio.run(main)
"""


def ids(conversation: Conversation, message_id: str) -> list[int]:
    """Return the token ids that are kept with a message."""
    chunks = [decode_chunk(field.data) for field in conversation.hidden(message_id)]
    return [token for chunk in chunks if chunk is not None for token in chunk.ids]


async def until_it_writes(process: Process) -> None:
    """Wait for its word."""
    assert process.stdout is not None
    with anyio.fail_after(60):
        assert (await TextReceiveStream(process.stdout).receive()).startswith("now")


@pytest.mark.usefixtures("model")
async def test_the_next_executor_goes_on_from_the_tokens(tmp_path: Path) -> None:
    """Killed in the middle, its answer is interrupted; the next begins with its tokens, and ends it."""
    database, folder = tmp_path / "chats.db", tmp_path / "slots"
    with Store(database) as store:
        conversation = store.join("fox")
        conversation.append("user", "Tell me a story about a fox.")
        requested = conversation.runs.request(Target("llamacpp", params={"max_tokens": 40, "temperature": 0}))
    command = [sys.executable, "-c", DYING, str(database), str(folder)]
    async with await anyio.open_process(command, stderr=None) as process:
        await until_it_writes(process)
        os.kill(process.pid, signal.SIGKILL)
    with Store(database) as store:
        conversation = store.open("fox")
        adapter = LlamaCpp(context_tokens=512, threads=1, checkpoints=folder)
        async with Executor(store, [adapter], ttl_s=0.5) as executor:
            executor.offer(conversation)
            with anyio.fail_after(60):
                done = await wait_until_over(conversation, requested.id)
        broken, reply = (conversation.message(output) for output in done.outputs)
        kept = ids(conversation, broken.id)
        assert (broken.status, reply.status) == ("interrupted", "complete")
        # More than once where a busy machine did not get to renew its lease.
        assert done.epoch >= 2
        assert reply.text.startswith(broken.text)
        assert len(kept) >= 4
        assert ids(conversation, reply.id)[: len(kept)] == kept
        assert [message.id for message in conversation.log().messages][1:] == [reply.id]
        assert (reply.usage or {})["output_tokens"] == 40 or reply.stop_reason == "stop"


async def test_without_tokens_it_goes_on_from_the_text(model: Path, tmp_path: Path) -> None:
    """What another model, or an older version, has left of an answer is not thrown away."""
    with Store(":memory:") as store:
        conversation = store.create()
        conversation.append("user", "Tell me a story about a fox.")
        requested = conversation.runs.request(Target("llamacpp", params={"temperature": 0, "max_tokens": 12}))
        conversation.runs.claim(requested.id, "the dead", 1)
        writer = conversation.stream(parents=requested.parents, run=requested.id)
        writer.write("The fox and the")
        conversation.runs.update(requested.id, state="streaming", output=writer.message.id)
        adapter = LlamaCpp(model, context_tokens=512, threads=1, checkpoints=tmp_path)
        async with Executor(store, [adapter]) as executor:
            executor.offer(conversation)
            with anyio.fail_after(60):
                done = await wait_until_over(conversation, requested.id)
        broken, reply = (conversation.message(output) for output in done.outputs)
        assert (broken.status, broken.text, reply.status) == ("interrupted", "The fox and the", "complete")
        assert reply.text.startswith("The fox and the ")
        assert broken.id in [note["about"] for note in (done.sent or {})["repairs"]]
