"""Forks, edits, alternatives, merges, runs, and what else people do, beside what they write."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from crdt_conv import Conversation, InvalidMessage, Target
from tests.properties.machine import DEVICES, PICK, WHO, Stream
from tests.properties.oracle import Asked, Register
from tests.properties.writing import ENDS, NAMES, SAID, Messages


class Branches(Messages):
    """Forks, edits, alternatives, merges, and what else a conversation has."""

    def __init__(self) -> None:
        super().__init__()
        self.choices: defaultdict[str, Register] = defaultdict(Register)
        self.title = Register("")
        self.drafts: dict[str, str] = {}
        self.titles: dict[str, Register] = {}
        self.archived: dict[str, Register] = {}
        self.forks: set[str] = set()
        self.entries: defaultdict[str, int] = defaultdict(int)
        """How often an entry for a branch was made: of two, one hides the other with all that is in it."""

    # Branches

    @rule(who=WHO, branch=NAMES, at=PICK)
    def fork(self, who: int, branch: str, at: int) -> None:
        conversation = self.at(who)
        message_id = self.pick(conversation, at)
        if branch in conversation.branches:
            with pytest.raises(InvalidMessage):
                conversation.fork(branch, message_id)
            return
        conversation.fork(branch, message_id)
        self.note_fork(conversation, branch, message_id)

    def note_fork(self, conversation: Conversation, branch: str, at: str) -> None:
        """Note a branch that was begun without a message."""
        self.forks.add(branch)
        self.entries[branch] += 1
        assert [head.id for head in conversation.heads(branch)] == [at]

    @rule(who=WHO, branch=PICK, is_renamed=st.booleans())
    def describe_branch(self, who: int, branch: int, is_renamed: bool) -> None:  # noqa: FBT001
        """Rename a branch, or put it away, or bring it back."""
        conversation, title = self.at(who), self.words()
        known = conversation.branch(self.branch_of(conversation, branch))
        self.note_description(conversation, known.name)
        if is_renamed:
            conversation.rename_branch(known.name, title)
            self.titles.setdefault(known.name, Register(known.name)).write(title, known.title)
        else:
            conversation.archive_branch(known.name, archived=not known.is_archived)
            register = self.archived.setdefault(known.name, Register(default=False))
            register.write(not known.is_archived, known.is_archived)

    def note_description(self, conversation: Conversation, branch: str) -> None:
        """Note that a branch is about to get its entry, if it has none."""
        if branch not in conversation.index.roots["branches"]:
            self.entries[branch] += 1

    @rule(who=WHO, at=PICK, said=SAID)
    def edit(self, who: int, at: int, said: str) -> None:
        conversation, text = self.at(who), self.words() + said
        known = conversation.message(self.pick(conversation, at))
        before = conversation.branches
        if known.role == "merge":
            with pytest.raises(InvalidMessage):
                conversation.edit(known.id, text)
            return
        written = conversation.edit(known.id, text)
        assert (written.role, written.parents) == (known.role, known.parents)
        assert written.branch not in before
        self.note(written, text)

    @rule(who=WHO, at=PICK)
    def choose(self, who: int, at: int) -> None:
        conversation = self.at(who)
        chosen = conversation.message(self.pick(conversation, at))
        if not (chosen.is_reply and chosen.is_complete and chosen.parents):
            with pytest.raises(InvalidMessage):
                conversation.choose(chosen.id)
            return
        view, key, before = self.view(conversation), chosen.parents[0], conversation.branches
        over = conversation.index.roots["choices"].get(key)
        branch = conversation.choose(chosen.id)
        if branch in before:
            self.choices[key].write(chosen.id, over)
        else:
            self.note_fork(conversation, branch, chosen.id)
        if view is not None:
            others = [other for other in self.oracle.siblings(view, chosen.id) if other != chosen.id]
            goes_on = any(self.oracle.is_continued(view, other) for other in others)
            assert (branch in before) != (goes_on and not self.oracle.is_continued(view, chosen.id))

    # Merges

    @rule(who=WHO, source=PICK, into=PICK)
    def merge(self, who: int, source: int, into: int) -> None:
        conversation = self.at(who)
        one, other = self.branch_of(conversation, source), self.branch_of(conversation, into)
        view, expected = self.view(conversation), self.expected_parents(conversation, one, other)
        merged = conversation.merge(one, other)
        assert view is None or (merged is not None) == bool(self.oracle.added(view, one, other))
        if merged is not None:
            assert expected in {None, merged.parents}
            assert (merged.role, merged.branch, merged.parts) == ("merge", other, ())
            self.note(merged)

    @rule(who=WHO, source=PICK, into=PICK)
    def squash(self, who: int, source: int, into: int) -> None:
        conversation = self.at(who)
        one, other = self.branch_of(conversation, source), self.branch_of(conversation, into)
        view, parents = self.view(conversation), self.expected_parents(conversation, other)
        written = conversation.squash(one, other)
        if written is not None:
            self.note(written)
            assert parents in {None, written.parents}
        if view is not None:
            added = [m for m in self.oracle.added(view, one, other) if view.shown[m].status != "redacted"]
            assert added == list(written.source if written is not None else ())
            assert all(conversation.message(m).text in (written.text if written else "") for m in added)

    @rule(who=WHO, picks=st.lists(PICK, max_size=3), into=PICK)
    def cherry_pick(self, who: int, picks: list[int], into: int) -> None:
        conversation = self.at(who)
        branch = self.branch_of(conversation, into)
        picked = [conversation.message(self.pick(conversation, at)) for at in picks]
        parents = self.expected_parents(conversation, branch)
        ids = [message.id for message in picked]
        if any(message.role == "merge" or message.status == "redacted" for message in picked):
            with pytest.raises(InvalidMessage):
                conversation.cherry_pick(ids, branch)
            return
        for message, written in zip(picked, conversation.cherry_pick(ids, branch), strict=True):
            kept = [field for field in conversation.hidden(message.id) if field.binding == "self"]
            assert (written.role, written.parts, written.source) == (
                message.role,
                message.parts,
                (message.id,),
            )
            assert parents in {None, written.parents}
            self.note(written, None, *kept)
            parents = (written.id,)

    # Forks that are documents of their own

    @rule(who=WHO)
    def fork_document(self, who: int) -> None:
        if len(self.documents) < DEVICES + 2:
            original = self.at(who)
            fork = self.store_of(original).fork(original.id)
            # It writes down the title that it has, as if somebody had given it that one.
            self.title.write(original.title, original.title)
            assert fork.forked_from == original.id
            self.open(fork, self.number(who))

    @rule(who=WHO, is_back=st.booleans())
    def merge_document(self, who: int, is_back: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """Bring a fork back, or bring it up to date."""
        fork, home = self.at(who), self.at(self.homes[self.number(who)])
        if fork is not home:
            into, other = (home, fork) if is_back else (fork, home)
            into.merge_document(other)
            gap = self.view(into) is None or self.view(other) is None
            assert gap or {node.id for node in other.graph} <= {node.id for node in into.graph}

    # What else there is

    @rule(who=WHO)
    def retitle(self, who: int) -> None:
        conversation, title = self.at(who), self.words()
        self.title.write(title, conversation.title)
        conversation.title = title
        assert conversation.title == title

    @rule(who=WHO, text=st.text(max_size=6))
    def write_a_draft(self, who: int, text: str) -> None:
        conversation = self.at(who % DEVICES)
        conversation.set_draft(text)
        self.drafts[conversation.author.device] = text
        assert conversation.draft == text


class Operations(Branches):
    """All of it: runs as well."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[str, Asked] = {}

    def pick_run(self, conversation: Conversation, at: int) -> str | None:
        """Return a run that a document has."""
        here = {run.id for run in conversation.runs.all()}
        shown = [run_id for run_id in self.runs if run_id in here]
        return shown[-1 - at % len(shown)] if shown else None

    def note_run(self, conversation: Conversation, run_id: str) -> None:
        """Note a run that was asked for just now."""
        run = conversation.runs[run_id]
        fields = {**run.as_json(), "state": None, "cancel": None, "error": None}
        self.runs[run_id] = Asked(fields)
        self.runs[run_id].state.write("requested", None)
        self.runs[run_id].cancel.write(value=False, over=None)
        assert (run.state, run.cancel, run.claims, run.outputs) == ("requested", False, (), ())

    @rule(who=WHO, branch=PICK)
    def request(self, who: int, branch: int) -> None:
        conversation = self.at(who)
        name = self.branch_of(conversation, branch)
        if not conversation.heads(name):
            with pytest.raises(InvalidMessage):
                conversation.runs.request(Target("llamacpp"), name)
            return
        heads, expected = conversation.heads(name), self.expected_parents(conversation, name)
        run = conversation.runs.request(Target("llamacpp", params={"n": 1}), name)
        is_answered = len(heads) == 1 and heads[0].is_reply
        assert expected is None or run.parents == (heads[0].parents if is_answered else expected)
        self.note_run(conversation, run.id)

    @rule(who=WHO, at=PICK)
    def ask_again(self, who: int, at: int) -> None:
        conversation = self.at(who)
        reply = conversation.message(self.pick(conversation, at))
        if not (reply.is_reply and reply.parents):
            with pytest.raises(InvalidMessage):
                conversation.runs.again(reply.id, Target("llamacpp"))
            return
        view, before = self.view(conversation), conversation.branches
        run = conversation.runs.again(reply.id, Target("llamacpp"))
        assert run.parents == reply.parents
        if view is not None:
            siblings = self.oracle.siblings(view, reply.id)
            goes_on = any(self.oracle.is_continued(view, sibling) for sibling in siblings)
            assert (run.branch not in before) if goes_on else (run.branch == reply.branch)
        self.note_run(conversation, run.id)

    @rule(who=WHO, at=PICK)
    def claim(self, who: int, at: int) -> None:
        conversation = self.at(who)
        run_id = self.pick_run(conversation, at)
        if run_id is not None:
            executor, epoch = self.words(), self.count
            before = conversation.runs[run_id].state
            self.runs[run_id].state.write("claimed", before)
            run = conversation.runs.claim(run_id, executor, epoch)
            self.runs[run_id].claims.append((executor, epoch))
            assert (run.state, run.claims[-1]["executor"]) == (
                after(before, "claimed"),
                executor,
            )

    @rule(who=WHO, at=PICK)
    def cancel(self, who: int, at: int) -> None:
        conversation = self.at(who)
        run_id = self.pick_run(conversation, at)
        if run_id is not None:
            before = conversation.runs[run_id]
            run = conversation.runs.cancel(run_id)
            assert run == before if before.is_over else run.cancel
            if not before.is_over:
                self.runs[run_id].cancel.write(value=True, over=before.cancel)

    @rule(who=WHO, at=PICK)
    def begin_to_answer(self, who: int, at: int) -> None:
        """Stream an answer to a run, as an executor does, where what it answers is here."""
        conversation = self.at(who)
        run_id = self.pick_run(conversation, at)
        if run_id is None or not all(parent in conversation for parent in conversation.runs[run_id].parents):
            return
        run = conversation.runs[run_id]
        writer = conversation.stream(branch=run.branch, parents=run.parents, run=run.id)
        assert (writer.message.parents, writer.message.run) == (run.parents, run.id)
        self.note(writer.message)
        self.streams.append(Stream(self.number(who), writer.message_id))
        self.runs[run_id].state.write("streaming", run.state)
        self.runs[run_id].outputs.append(writer.message_id)
        conversation.runs.update(run_id, output=writer.message_id, state="streaming")

    @rule(who=WHO, at=PICK, state=ENDS)
    def end_a_run(self, who: int, at: int, state: str) -> None:
        conversation = self.at(who)
        run_id = self.pick_run(conversation, at)
        if run_id is not None:
            before = conversation.runs[run_id].state
            self.runs[run_id].state.write(state, before)
            error = {"type": "overloaded", "message": "later"} if state == "failed" else None
            run = conversation.runs.update(run_id, state=state, error=error)
            assert (run.state, run.error) == (after(before, state), error)


def after(before: str, state: str) -> str:
    """Return what a run's state reads as when another is written over it: whoever was through was through."""
    return before if before == "complete" else state
