"""
Several replicas, what travels between them, and what must hold at every moment.

The devices have one conversation, each in a store of its own; a fork into a document
of its own stands beside them. Updates travel as they were made: in any order, twice,
several merged into one, or not at all until somebody asks for what is lacking.

No rule draws by what a replica holds, which ids and client ids make a matter of
chance: a number is drawn, and stands for one of the things that are there.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crdt_conv import Change, Conversation, HiddenField, Message, MessageWriter, Store
from crdt_conv.document.document import Document
from crdt_conv.document.schema import ROOTS
from crdt_conv.yjs.updates import merge_updates
from tests.properties.oracle import Oracle, Shown, View, Written
from tests.replicas import replica

DEVICES: Final = 3
WHO = st.integers(0, DEVICES + 1)
PICK = st.integers(0, 99)


class Stream(NamedTuple):
    """A message that is being written, and in which document."""

    number: int
    message_id: str


class Network(RuleBasedStateMachine):
    """Replicas and their updates; ``Operations`` adds what people and models do."""

    def __init__(self) -> None:
        super().__init__()
        self.oracle = Oracle()
        self.documents: list[Conversation] = []
        self.homes: list[int] = []
        """Of each document the one that it was forked from; a device's is itself."""
        self.waiting: list[list[bytes]] = [[] for _ in range(DEVICES)]
        self.updates: list[bytes] = []
        self.streams: list[Stream] = []
        self.sealed: dict[str, list[list[HiddenField]]] = {}
        """Of each message the hidden fields that were sealed together."""
        self.told: list[dict[str, Message]] = []
        """What each document's subscriber has heard of."""
        self.touched: set[int] = set()
        self.is_sound = False
        self.count = 0

    @initialize(is_together=st.booleans())
    def start(self, is_together: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """Begin with one question that all have, or each with their own."""
        for number in range(DEVICES):
            self.open(replica("c", f"device {number}"), number)
        for conversation in self.documents[: 1 if is_together else DEVICES]:
            text = self.words()
            self.note(conversation.append("user", text), text)
        for other in self.documents[1:] if is_together else ():
            other.receive(self.documents[0].encode(), "network")

    def teardown(self) -> None:
        """Close all stores."""
        for conversation in self.documents[:DEVICES]:
            self.store_of(conversation).close()

    # What is there

    def open(self, conversation: Conversation, home: int, at: int | None = None) -> None:
        """Take in a document, or have one back that was read again."""
        number = len(self.documents) if at is None else at
        self.documents.insert(number, conversation)
        if at is None:
            self.homes.append(home)
            self.told.append({message.id: message for message in conversation.messages()})
        conversation.subscribe(partial(self.on_change, number))
        self.touched.add(number)

    @staticmethod
    def store_of(conversation: Conversation) -> Store:
        """Return the store of a document."""
        assert isinstance(conversation._log, Store)
        return conversation._log

    def at(self, who: int) -> Conversation:
        """Return a document by any number; something is about to happen to it."""
        self.is_sound = False
        return self.documents[self.number(who)]

    def number(self, who: int) -> int:
        """Return which document a drawn number stands for."""
        return who % len(self.documents)

    def on_change(self, me: int, change: Change) -> None:
        """Hear of a change: keep up with it, and send on what was written here."""
        self.touched.add(me)
        conversation = self.documents[me]
        self.told[me].update({m: conversation.message(m) for m in change.messages if m in conversation})
        if change.origin is None:
            self.updates.append(change.update)
            for other, queue in enumerate(self.waiting):
                if me < DEVICES and other != me:
                    queue.append(change.update)

    def pick(self, conversation: Conversation, at: int) -> str:
        """Return a message that a document shows, the one written last for 0."""
        shown = [message_id for message_id in self.oracle.messages if message_id in conversation]
        return shown[-1 - at % len(shown)]

    def branch_of(self, conversation: Conversation, at: int) -> str:
        """Return a branch that a document has."""
        return conversation.branches[at % len(conversation.branches)]

    def view(self, conversation: Conversation) -> View | None:
        """Return what a document shows; nothing where a gap is open: Yjs shows parts of what waits then."""
        roots = conversation.index.roots
        if conversation._document is not None and conversation._document.is_pending:
            return None
        forked = {
            name: at
            for name, entry in roots["branches"].items()
            if isinstance(at := entry.get("forked_at"), str) and at in conversation
        }
        shown: dict[str, Shown] = {m.id: Shown(m.status, m.hidden_count) for m in conversation.messages()}
        return View(shown, roots["choices"], forked)

    def words(self) -> str:
        """Return words that nobody has said."""
        self.count += 1
        return f"«{self.count}»"

    def note(self, message: Message, text: str | None = None, *fields: HiddenField) -> Written:
        """Note a message that was written just now, and see that it says what it should."""
        self.sealed.setdefault(message.id, [list(fields)])
        parts = [{"type": part.type, **part.content} for part in message.parts]
        assert text is None or parts[:1] == [{"type": "text", "text": text}]
        written = Written(
            message.id,
            message.role,
            message.parents,
            message.branch,
            message.created,
            message.author.as_json(),
            message.nonce,
            parts,
            message.status,
            source=message.source,
        )
        return self.oracle.write(written)

    # Delivery

    @rule(who=WHO, at=PICK, again=st.booleans())
    def deliver(self, who: int, at: int, again: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """Deliver a waiting update out of turn, and maybe leave it to come again."""
        self.deliver_merged(who, [at], again)

    @rule(who=WHO, picks=st.lists(PICK, min_size=1, max_size=6), again=st.booleans())
    def deliver_merged(self, who: int, picks: list[int], again: bool) -> None:  # noqa: FBT001
        """Deliver several waiting updates as one."""
        queue = self.waiting[who % DEVICES]
        if not queue:
            return
        chosen = [queue[at % len(queue)] for at in picks]
        self.at(who % DEVICES).receive(merge_updates(chosen), "network")
        if not again:
            self.waiting[who % DEVICES] = [update for update in queue if update not in chosen]

    @rule(who=WHO)
    def deliver_all(self, who: int) -> None:
        """Deliver all that waits, in the order of sending."""
        for update in self.waiting[who % DEVICES]:
            self.at(who % DEVICES).receive(update, "network")
        self.waiting[who % DEVICES] = []

    @rule(who=WHO, at=PICK)
    def drop(self, who: int, at: int) -> None:
        """Lose an update; it comes back when somebody asks for what is lacking."""
        queue = self.waiting[who % DEVICES]
        if queue:
            del queue[at % len(queue)]

    @rule(one=WHO, other=WHO, whole=st.booleans())
    def meet(self, one: int, other: int, whole: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """Exchange by state vectors, in one direction: the line is cut before the other."""
        source, target = self.at(one % DEVICES), self.at(other % DEVICES)
        target.receive(source.encode(None if whole else target.state_vector), "network")

    @rule(who=WHO)
    def hand_on(self, who: int) -> None:
        """What a document hands on is all that stands in its log, also what waits for something."""
        conversation, late = self.at(who), self.waiting[who % DEVICES]
        log = [update for _, update in self.store_of(conversation).read(conversation.id)]
        handed_on, kept = Document([conversation.encode(), *late]), Document([*log, *late])
        if not kept.is_pending:
            assert [handed_on.read(root) for root in ROOTS] == [kept.read(root) for root in ROOTS]

    # Restarts

    @rule(who=WHO)
    def forget(self, who: int) -> None:
        """Read a document again from its log."""
        self.at(who)._forget()
        self.touched.add(self.number(who))

    @rule(who=WHO)
    def restart(self, who: int) -> None:
        """Close a document and open it again, from its stored index where that is as new as the log."""
        number, store = self.number(who), self.store_of(self.at(who))
        closed = self.documents.pop(number)
        store.let_go(closed.id)
        name, gone = closed.id, weakref.ref(closed)
        del closed
        assert gone() is None
        self.open(store.join(name), number, number)

    @rule(who=WHO)
    def compact(self, who: int) -> None:
        """Replace a document's log by a snapshot."""
        conversation = self.at(who)
        self.store_of(conversation).compact(conversation.id)
        self.touched.add(self.number(who))

    # What must hold at every moment

    @invariant()
    def all_is_well(self) -> None:
        """Look at every document that something happened to."""
        for number in sorted(self.touched):
            self.check_logs(self.documents[number])
            view = self.view(self.documents[number])
            if view is not None:
                self.check_shown(number, view)
                self.check_branches(self.documents[number], view)
        self.touched.clear()
        self.is_sound = True

    def check_logs(self, conversation: Conversation) -> None:
        """The log that a message saw never changes, on any replica, whatever else happens."""
        for node in conversation.graph:
            log = tuple(seen.id for seen in conversation.lin(node.id))
            assert log == self.oracle.lin(node.id)

    def check_shown(self, number: int, view: View) -> None:
        """Nobody loses a message; a subscriber has heard of each as it stands; what streams is all there."""
        conversation, told = self.documents[number], self.told[number]
        shown: dict[str, Message] = {message.id: message for message in conversation.messages()}
        assert {m: (seen.node, seen.parts) for m, seen in told.items()} == {
            m: (seen.node, seen.parts) for m, seen in shown.items()
        }
        for stream in self.streams:
            if stream.number == number and view.shown[stream.message_id].status != "redacted":
                assert (
                    visible(shown[stream.message_id])["parts"]
                    == self.oracle.messages[stream.message_id].parts
                )

    def check_branches(self, conversation: Conversation, view: View) -> None:
        """Heads, their logs and digests are the contract's."""
        exact: dict[str, dict[str, Any]] = {
            message.id: visible(message, with_ids=True) for message in conversation.messages()
        }
        for branch in conversation.branches:
            log, heads = conversation.log(branch), self.oracle.heads(view, branch)
            assert [head.id for head in log.heads] == heads
            assert tuple(message.id for message in log.messages) == self.oracle.under(heads)
            assert log.digest == self.oracle.digest(self.oracle.under(heads), exact)


def visible(message: Message, *, with_ids: bool = False) -> dict[str, Any]:
    """Return what of a message may change and is seen."""
    ids = [{"id": part.id} if with_ids else {} for part in message.parts]
    parts = [
        {**name, "type": part.type, **part.content} for name, part in zip(ids, message.parts, strict=True)
    ]
    return {"status": message.status, "nonce": message.nonce.hex(), "parts": parts}


def writer_of(conversation: Conversation, stream: Stream) -> MessageWriter:
    """Return the writing end of a stream, which holds nothing."""
    return MessageWriter(conversation, conversation.graph[stream.message_id].id)
