"""
Several replicas, every operation, every way of delivery.

What must hold at every moment is ``machine``'s, what comes of each operation
``operations``'s; here is what must hold when everybody has heard of everything.
``CRDT_CONV_EXAMPLES=20`` looks twenty times as long (with ``-o faulthandler_timeout=0``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, settings

from crdt_conv import Conversation, Run
from crdt_conv.document.schema import ROOTS
from crdt_conv.yjs.updates import merge_updates
from tests.properties.machine import DEVICES, visible
from tests.properties.operations import Operations
from tests.properties.oracle import Register
from tests.replicas import Reader, reopened, restarted

SCALE = int(os.environ.get("CRDT_CONV_EXAMPLES", "1"))
WORDS = re.compile("«[0-9]+»")


def everything(conversation: Conversation) -> dict[str, object]:
    """Return all that can be read of a conversation, whatever its own id is."""
    messages = {message.id: message for message in conversation.messages()}
    return {
        "messages": messages,
        "logs": [conversation.log(branch) for branch in conversation.branches],
        "ends": [conversation.log(branch, last=2) for branch in conversation.branches],
        "branches": [conversation.branch(branch) for branch in conversation.branches],
        "next parents": [conversation.next_parents(branch) for branch in conversation.branches],
        "digests": {message_id: conversation.digest(message_id) for message_id in messages},
        "alternatives": {message_id: conversation.alternatives(message_id) for message_id in messages},
        "title": conversation.title,
        "hidden": {message_id: conversation.hidden(message_id) for message_id in messages},
        "drafts": conversation.drafts,
        "runs": conversation.runs.all(),
        "problems": conversation.problems(),
        "roots": {root: conversation.read(root) for root in ROOTS},
    }


def exchange_all(documents: Sequence[Conversation]) -> None:
    """Exchange by state vectors until nobody has news; what answers news is news, too."""
    pairs = [(one, other) for one in documents for other in documents if one is not other]
    for _ in range(4):
        news = [other.receive(one.encode(other.state_vector), "peer") for one, other in pairs]
        if not any(news):
            return
    raise AssertionError("they never come to an end")


class Replicas(Operations):
    """Replicas that heard of the same in any order read the same, and as the oracle says."""

    def teardown(self) -> None:
        try:
            # Where a step failed already, what follows says nothing new.
            if self.is_sound:
                self.meet_in_the_end()
        finally:
            super().teardown()

    def meet_in_the_end(self) -> None:
        for number in reversed(range(DEVICES, len(self.documents))):
            self.documents[self.homes[number]].merge_document(self.documents[number])
        self.check_all()
        self.check_merged(self.documents[0])
        self.go_on_apart()
        self.check_all()
        self.check_compacted(self.documents[0])
        for message_id in self.oracle.messages:
            self.documents[-1].redact(message_id)
            self.oracle.redact(message_id)
        exchange_all(self.documents)
        self.check_messages(self.documents[0])
        self.check_bytes()

    def go_on_apart(self) -> None:
        """Do what is right only where devices that did not hear of each other come to the same."""
        first, second = self.documents[:2]
        stream = first.stream()
        self.note(stream.message)
        exchange_all(self.documents)
        second.redact(stream.message_id)
        self.oracle.redact(stream.message_id)
        stream.write("nobody shall see «0»")
        stream.finish()
        for branch in first.branches:
            merged = [device.merge(branch) for device in (first, second)]
            assert merged[0] == merged[1]
            if merged[0] is not None:
                self.note(merged[0])
        exchange_all(self.documents)
        joined = {branch: first.append("user", "and so on", branch=branch) for branch in first.branches}
        # Nothing but a removal, of which no operation of anybody's tells.
        exchange_all(self.documents)
        self.strip(len(self.documents) - 1, "")
        exchange_all(self.documents)
        for branch, message in joined.items():
            self.note(message)
            assert all(document.log(branch).heads == (message,) for document in self.documents)

    def check_all(self) -> None:
        """When all have heard of everything, all that can be read is the oracle's, for everybody."""
        exchange_all(self.documents)
        self.all_is_well()
        first, *others = self.documents
        self.check_sameness(first, others)
        self.check_messages(first)
        self.check_hidden(first)
        self.check_small_roots(first)
        self.check_runs(first)
        self.check_bytes()

    def check_sameness(self, first: Conversation, others: list[Conversation]) -> None:
        """All read the same, also after a restart from the log, or from the stored index."""
        expected = everything(first)
        for other in others:
            assert everything(other) == expected
        for conversation in self.documents:
            assert everything(reopened(conversation)) == expected
            assert everything(restarted(conversation)) == expected
        assert expected["problems"] == []

    def check_messages(self, conversation: Conversation) -> None:
        """Every message ever written is there and says what its writer wrote; a redacted one says nothing."""
        assert {node.id for node in conversation.graph} == set(self.oracle.messages)
        for message in conversation.messages():
            written = self.oracle.messages[message.id]
            raw = conversation.read("messages", message.id)
            assert {key: raw[key] for key in written.facts if key != "id"} == {
                key: value for key, value in written.facts.items() if key != "id"
            }
            status = "redacted" if written.is_redacted else written.status
            nonce = "" if written.is_redacted else written.nonce.hex()
            assert visible(message) == {"status": status, "nonce": nonce, "parts": written.says}

    def check_hidden(self, conversation: Conversation) -> None:
        """Hidden fields are as they were sealed, in their order, less what was taken out."""
        for message_id, groups in self.sealed.items():
            shown = conversation.hidden(message_id)
            kept = {(message_id, field.created) for field in shown}
            gone = self.stripped | (self.maybe_stripped - kept)
            if self.oracle.messages[message_id].is_redacted:
                gone |= {(message_id, field.created) for group in groups for field in group}
            for group in groups:
                left = [field for field in group if (message_id, field.created) not in gone]
                assert [field for field in shown if field in group] == left
            assert len(shown) == len(
                [f for group in groups for f in group if (message_id, f.created) not in gone]
            )

    def check_small_roots(self, conversation: Conversation) -> None:
        """Choices, title, branches and drafts are what somebody wrote, and nobody who saw it replaced."""
        assert conversation.forked_from is None
        assert self.title.may_be(conversation.title)
        assert conversation.drafts == self.drafts
        chosen = conversation.read("choices")
        assert set(chosen) == set(self.choices)
        assert all(self.choices[key].may_be(choice) for key, choice in chosen.items())
        written = {message.branch for message in self.oracle.messages.values()}
        assert set(conversation.branches) == {"main"} | written | self.forks
        for name in conversation.branches:
            branch = conversation.branch(name)
            if self.entries[name] < 2:
                assert self.titles.get(name, Register(name)).may_be(branch.title)
                assert self.archived.get(name, Register(default=False)).may_be(branch.is_archived)

    def check_runs(self, conversation: Conversation) -> None:
        """No run is lost, nor a claim or an output of one."""
        runs: dict[str, Run] = {run.id: run for run in conversation.runs.all()}
        assert set(runs) == set(self.runs)
        for run_id, asked in self.runs.items():
            shown = runs[run_id].as_json()
            claims = [(claim["executor"], claim["epoch"]) for claim in shown["claims"]]
            assert sorted(claims) == sorted(asked.claims)
            assert sorted(shown["outputs"]) == sorted(asked.outputs)
            is_through = asked.state.was("complete")
            assert shown["state"] == "complete" if is_through else asked.state.may_be(shown["state"])
            assert asked.cancel.may_be(shown["cancel"])
            changing: dict[str, object] = {
                "claims": [],
                "outputs": [],
                "state": None,
                "cancel": None,
                "error": None,
            }
            assert shown | changing == asked.fields

    def check_bytes(self) -> None:
        """What was redacted or stripped is in nobody's bytes; what was not is in everybody's."""
        ever = [words_in(written.parts) for written in self.oracle.messages.values()]
        ever += [words_in(groups) for groups in self.sealed.values()] + [{"«0»"}]
        for conversation in self.documents:
            shown = [words_in(visible(message)) for message in conversation.messages()]
            shown += [words_in(conversation.hidden(message_id)) for message_id in self.sealed]
            left, encoded = set().union(*shown), words_in(conversation.encode())
            assert (encoded & set().union(*ever), left - encoded) == (left, set())

    def check_merged(self, first: Conversation) -> None:
        """All updates merged into one are the conversation, and so are all of them applied, in any order."""
        expected = [first.read(root) for root in ROOTS]
        for updates in ([merge_updates(self.updates)], self.updates, self.updates[::-1]):
            reader = Reader(updates)
            assert [reader.document.read(root) for root in ROOTS] == expected
            assert reader.graph.digest_of([head.id for head in first.heads()]) == first.log().digest

    def check_compacted(self, first: Conversation) -> None:
        """A compaction changes nothing that is read."""
        expected = everything(first)
        self.store_of(first).compact(first.id)
        assert len(self.store_of(first).read(first.id)) == 1
        assert everything(first) == everything(restarted(first)) == everything(reopened(first)) == expected


def words_in(value: object) -> set[str]:
    """Return the words, each said once, that are anywhere in a value or in bytes."""
    # Bytes in a value are shown escaped, like bytes that are asked for themselves.
    return set(WORDS.findall(repr(value).replace(r"\xc2\xab", "«").replace(r"\xc2\xbb", "»")))


TestReplicas = pytest.mark.timeout(120 * SCALE)(Replicas.TestCase)
TestReplicas.settings = settings(
    max_examples=50 * SCALE,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
