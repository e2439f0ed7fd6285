"""
Several replicas, every operation, every way of delivery.

Updates travel as they were made: late, in any order, twice, or left out until the
end. The oracle is what was reported when it was written: nobody may lose a message,
and the log that a message saw may never change, on any replica, at any moment.
"""

from __future__ import annotations

from functools import partial

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crdt_conv import Change, Conversation, MessageWriter, Target
from crdt_conv.updates import merge_updates
from tests.replicas import Reader, exchange, replica

REPLICAS = 3
WHO = st.integers(0, REPLICAS - 1)
BRANCH = st.sampled_from(["main", "plan", "other"])


class Replicas(RuleBasedStateMachine):
    """Three devices with one conversation."""

    @initialize()
    def start(self) -> None:
        self.replicas = [replica("c", f"device {number}") for number in range(REPLICAS)]
        self.updates: list[bytes] = []
        self.waiting: list[list[bytes]] = [[] for _ in self.replicas]
        self.writers: list[tuple[int, MessageWriter]] = []
        self.written: set[str] = set()
        self.logs: dict[str, tuple[str, ...]] = {}
        for number, conversation in enumerate(self.replicas):
            conversation.subscribe(partial(self.on_change, number))

    def on_change(self, me: int, change: Change) -> None:
        if change.origin is None:
            self.updates.append(change.update)
            for other, queue in enumerate(self.waiting):
                if other != me:
                    queue.append(change.update)

    def pick(self, data: st.DataObject, conversation: Conversation) -> str | None:
        """Draw a message that a replica holds."""
        known = sorted(message.id for message in conversation.graph)
        return known[data.draw(st.integers(0, len(known) - 1))] if known else None

    # Operations

    @rule(who=WHO, branch=BRANCH, role=st.sampled_from(["user", "assistant", "system"]))
    def append(self, who: int, branch: str, role: str) -> None:
        conversation = self.replicas[who]
        if branch in conversation.branches:
            self.written.add(conversation.append(role, "some words", branch=branch).id)

    @rule(who=WHO, data=st.data())
    def reply_beside_others(self, who: int, data: st.DataObject) -> None:
        """Answer any message, so that alternatives and forks arise."""
        conversation = self.replicas[who]
        parent = self.pick(data, conversation)
        if parent is not None:
            branch = conversation.message(parent).branch
            written = conversation.append("assistant", "or else", branch=branch, parents=[parent])
            self.written.add(written.id)

    @rule(who=WHO, branch=BRANCH, data=st.data())
    def fork(self, who: int, branch: str, data: st.DataObject) -> None:
        conversation = self.replicas[who]
        at = self.pick(data, conversation)
        if at is not None and branch not in conversation.branches:
            conversation.fork(branch, at)

    @rule(who=WHO, source=BRANCH, into=BRANCH)
    def merge(self, who: int, source: str, into: str) -> None:
        conversation = self.replicas[who]
        if source != into and {source, into} <= set(conversation.branches) and len(conversation.graph):
            merged = conversation.merge(source, into)
            self.written |= {merged.id} if merged is not None else set()

    @rule(who=WHO)
    def begin_to_stream(self, who: int) -> None:
        writer = self.replicas[who].stream()
        self.written.add(writer.message_id)
        self.writers.append((who, writer))

    @rule(text=st.text(max_size=5), status=st.sampled_from(["", "complete", "interrupted"]))
    def go_on_streaming(self, text: str, status: str) -> None:
        if self.writers:
            _, writer = self.writers[-1]
            writer.write(text)
            if status:
                writer.finish(status)
                self.writers.pop()

    @rule(who=WHO, data=st.data())
    def choose(self, who: int, data: st.DataObject) -> None:
        conversation = self.replicas[who]
        chosen = self.pick(data, conversation)
        parents = conversation.message(chosen).parents if chosen else ()
        if chosen and parents:
            with conversation.writing() as document:
                document.put("choices", parents[0], chosen)

    @rule(who=WHO, title=st.text(max_size=5))
    def retitle(self, who: int, title: str) -> None:
        self.replicas[who].title = title

    @rule(who=WHO)
    def request_and_claim(self, who: int) -> None:
        conversation = self.replicas[who]
        if conversation.heads():
            run = conversation.runs.request(Target("llamacpp"))
            conversation.runs.claim(run.id, f"executor {who}", 1)

    @rule(who=WHO)
    def forget_what_is_in_memory(self, who: int) -> None:
        """Read the replica again from its log, as after a restart."""
        self.replicas[who]._forget()

    # Delivery

    @rule(who=WHO, data=st.data())
    def deliver_any(self, who: int, data: st.DataObject) -> None:
        """Deliver a waiting update out of turn, and sometimes leave it to come again."""
        queue = self.waiting[who]
        if queue:
            update = queue[data.draw(st.integers(0, len(queue) - 1))]
            self.replicas[who].receive(update, "network")
            if data.draw(st.booleans()):
                queue.remove(update)

    @rule(one=WHO, other=WHO)
    def meet(self, one: int, other: int) -> None:
        """Exchange by state vectors, pending parts included."""
        source, target = self.replicas[one], self.replicas[other]
        target.receive(source.encode(target.state_vector), "network")

    # What must hold

    @invariant()
    def logs_never_change(self) -> None:
        for conversation in getattr(self, "replicas", []):
            for message in conversation.graph:
                log = tuple(seen.id for seen in conversation.lin(message.id))
                assert self.logs.setdefault(message.id, log) == log

    def teardown(self) -> None:
        if not hasattr(self, "replicas"):
            return
        exchange(*self.replicas)
        first, *others = self.replicas
        for conversation in others:
            self.assert_same(first, conversation)
        assert self.written == {message.id for message in first.graph}
        merged = Reader([merge_updates(self.updates)]) if self.updates else Reader()
        assert merged.graph.digest_of([h.id for h in first.heads()]) == first.log().digest
        assert not any(conversation.problems() for conversation in self.replicas)

    def assert_same(self, one: Conversation, other: Conversation) -> None:
        assert one.title == other.title
        assert one.branches == other.branches
        for branch in one.branches:
            assert one.log(branch) == other.log(branch)
        assert one.runs.all() == other.runs.all()


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
