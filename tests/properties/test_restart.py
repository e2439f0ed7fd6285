"""
What is in memory reads as what is in the log.

Two devices write by a drawn script; a third gets their updates in any order, one by one or
merged into groups, some twice. Whenever no gap is open, a restart reads the same: every log,
every digest, runs, title and problems. In the end all three meet.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crdt_conv import Conversation, MessageWriter, Target
from crdt_conv.yjs.updates import merge_updates
from tests.replicas import exchange, reopened, replica, restarted

ACTS = ("append", "begin", "write", "finish", "aside", "request", "title", "merge", "meet")


class Story:
    """Two devices, and the updates that they sent."""

    def __init__(self) -> None:
        self.devices = [replica("c", "ann"), replica("c", "bob")]
        self.updates: list[bytes] = []
        for device in self.devices:
            device.subscribe(lambda change: self.updates.append(change.update) if not change.origin else None)

    def act(self, who: int, what: str) -> None:
        """
        Do one thing that people or models do, where it can be done.

        No key is written by both: beside a gap pycrdt panics at that, see tests/crdt_conv/test_gaps.py.
        """
        device = self.devices[0 if what in {"title", "merge"} else who]
        if what == "append" or not device.heads():
            device.append("user", "some words")
        elif what == "title":
            device.title = f"title {len(self.updates)}"
        elif what == "meet":
            for one, other in (self.devices, self.devices[::-1]):
                other.receive(one.encode(other.state_vector), "peer")
        elif what in {"begin", "write", "finish"}:
            self.stream(device, what)
        else:
            self.branch(device, what)

    def stream(self, device: Conversation, what: str) -> None:
        open_ids = [
            message.id
            for message in device.messages()
            if message.status == "streaming" and message.author == device.author
        ]
        writer = MessageWriter(device, open_ids[-1]) if open_ids and what != "begin" else device.stream()
        if what == "finish":
            writer.finish()
        else:
            writer.write("a token ")

    def branch(self, device: Conversation, what: str) -> None:
        head = device.heads()[0].id
        if what == "aside":
            device.append("user", "aside", branch="plan", parents=[head])
        elif what == "merge" and "plan" in device.branches:
            device.merge("plan")
        elif what == "request":
            run = device.runs.request(Target("llamacpp"))
            device.runs.claim(run.id, "box", 1)


def seen(conversation: Conversation) -> object:
    """Return all that can be read of a conversation."""
    graph = conversation.graph
    return (
        [conversation.log(branch) for branch in conversation.branches],
        sorted(
            (m.id, conversation.digest(m.id), [seen.id for seen in conversation.lin(m.id)]) for m in graph
        ),
        conversation.runs.all(),
        conversation.title,
        conversation.problems(),
    )


SCRIPT = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(ACTS)), min_size=2, max_size=12)


@given(SCRIPT, st.data())
def test_memory_reads_as_the_log(script: list[tuple[int, str]], data: st.DataObject) -> None:
    """However updates are ordered, grouped and repeated, a restart reads the same, and so do all who met."""
    story = Story()
    for who, what in script:
        story.act(who, what)
    target = replica("c", "eve")
    order = data.draw(st.permutations([*range(len(story.updates)), 0]))
    while order:
        group = [story.updates[order.pop()] for _ in range(min(len(order), data.draw(st.integers(1, 3))))]
        target.receive(merge_updates(group), "network")
        # With a gap open Yjs shows parts of what waits and tells of none: tests/crdt_conv/test_gaps.py.
        if not target.document.is_pending:
            assert seen(target) == seen(restarted(target)) == seen(reopened(target))
    # The meeting sends again what pycrdt left out of updates that waited: the same file.
    exchange(target, *story.devices)
    assert seen(target) == seen(story.devices[0]) == seen(story.devices[1])


@given(SCRIPT)
def test_what_is_delivered_again_is_no_news(script: list[tuple[int, str]]) -> None:
    """Updates that are here, alone or merged, change nothing and cost no place in the log."""
    story = Story()
    for who, what in script:
        story.act(who, what)
    target = replica("c", "eve")
    target.receive(merge_updates(story.updates), "network")
    before = seen(target)
    for update in [*story.updates, target.encode(), merge_updates(story.updates)]:
        assert not target.receive(update, "network")
    assert (target.last_seq, seen(target)) == (1, before)
