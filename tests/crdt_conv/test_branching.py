"""Forking a conversation and bringing forks together, on one device and on several."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pycrdt import Doc, Map

from crdt_conv import (
    Branch,
    Conversation,
    InvalidMessage,
    Message,
    Store,
    Target,
    UnknownBranch,
    UnknownMessage,
    new_part,
)
from tests.replicas import copy_of, exchange, replica, restarted, texts

LLAMA = Target("llamacpp")


def asked_twice(*, continued: bool = False) -> tuple[Conversation, list[Message]]:
    """Return a question with two replies; the first may be continued."""
    conversation = replica()
    question = conversation.append("user", "Where?")
    replies = [conversation.append("assistant", text, parents=[question.id]) for text in ("Rome.", "Oslo.")]
    if continued:
        conversation.append("user", "When?")
    return conversation, [question, *replies]


def shown(conversation: Conversation, branch: str = "main") -> list[str]:
    """Return what a branch says."""
    return texts(conversation.log(branch).messages)


# Choosing


def test_a_chosen_reply_is_the_one_that_is_read() -> None:
    """The choice stands in the document under the question, and the branch goes on with it."""
    conversation, (question, _, second) = asked_twice()
    assert shown(conversation) == ["Where?", "Rome."]
    assert conversation.choose(second.id) == "main"
    assert conversation.read("choices") == {question.id: second.id}
    assert shown(conversation) == shown(restarted(conversation)) == ["Where?", "Oslo."]
    assert conversation.next_parents() == (second.id,)


def test_a_choice_can_be_taken_back() -> None:
    """While nothing was written on top the reply may be chosen again and again."""
    conversation, (_, first, second) = asked_twice()
    conversation.choose(second.id)
    assert conversation.choose(first.id) == "main"
    assert shown(conversation) == ["Where?", "Rome."]


def test_choosing_beside_a_continued_reply_forks() -> None:
    """What was continued goes on in peace, and the other reply gets a branch that begins with it."""
    conversation, (_, _, second) = asked_twice(continued=True)
    assert conversation.choose(second.id) == "main-2"
    conversation.append("user", "By train?", branch="main-2")
    assert shown(conversation) == ["Where?", "Rome.", "When?"]
    assert shown(conversation, "main-2") == ["Where?", "Oslo.", "By train?"]
    assert conversation.read("choices") == {}


def test_the_continued_reply_can_be_chosen() -> None:
    """Choosing what the branch goes on with already forks nothing."""
    conversation, (_, first, _) = asked_twice(continued=True)
    assert conversation.choose(first.id) == "main"
    assert conversation.branches == ["main"]


def test_choices_made_apart_converge() -> None:
    """Two devices that choose differently agree in the end."""
    one, (_, first, second) = asked_twice()
    other = copy_of(one)
    one.choose(first.id)
    other.choose(second.id)
    exchange(one, other)
    assert shown(one) == shown(other) in (["Where?", "Rome."], ["Where?", "Oslo."])


def question_id(conversation: Conversation) -> str:
    """Return the id of what was asked."""
    return conversation.log().messages[0].id


NOT_CHOSEN: dict[str, Callable[[Conversation], str]] = {
    "a question": question_id,
    "what still streams": lambda c: c.stream(parents=[question_id(c)]).message_id,
    "what broke off": lambda c: c.stream(parents=[question_id(c)]).finish("interrupted").id,
    "what was redacted": lambda c: c.redact(c.append("assistant", "x", parents=[question_id(c)]).id).id,
    "what answers nothing": lambda c: c.append("assistant", "Welcome.", parents=[]).id,
}


@pytest.mark.parametrize("make", NOT_CHOSEN.values(), ids=NOT_CHOSEN.keys())
def test_only_complete_replies_are_chosen(make: Callable[[Conversation], str]) -> None:
    """Anything else is refused, and nothing is written."""
    conversation, _ = asked_twice()
    message_id = make(conversation)
    seq = conversation.last_seq
    with pytest.raises(InvalidMessage, match="no complete reply"):
        conversation.choose(message_id)
    assert (conversation.last_seq, conversation.read("choices")) == (seq, {})


def test_choosing_what_is_not_here_is_named() -> None:
    """An unknown id is an error with that id."""
    with pytest.raises(UnknownMessage, match="nobody"):
        replica().choose("nobody")


def test_a_fork_of_200_replies_has_one_reply_and_199_alternatives() -> None:
    """One of 200 answers to one question is read, all are kept, and any of them can be chosen."""
    conversation = replica()
    question = conversation.append("user", "Where?")
    replies = [conversation.append("assistant", str(n), parents=[question.id]) for n in range(200)]
    assert conversation.alternatives(replies[77].id) == replies
    assert conversation.heads() == [replies[0]]
    conversation.choose(replies[150].id)
    assert (shown(conversation), conversation.next_parents()) == (["Where?", "150"], (replies[150].id,))


# Editing


def test_an_edit_forks_beside_the_old_message() -> None:
    """The new message has the old one's parents and role; the old branch reads on as it did."""
    conversation, (question, first, _) = asked_twice()
    edited = conversation.edit(first.id, "Paris.")
    assert (edited.parents, edited.role, edited.branch) == ((question.id,), "assistant", "main-2")
    assert shown(conversation, "main-2") == ["Where?", "Paris."]
    assert shown(conversation) == ["Where?", "Rome."]


def test_the_first_message_can_be_edited() -> None:
    """An edit of a message without parents begins a log of its own."""
    conversation, (question, *_) = asked_twice()
    edited = conversation.edit(question.id, "When?", branch="when")
    assert (edited.parents, shown(conversation, "when")) == ((), ["When?"])


def test_an_edit_of_several_parents_keeps_them_in_order() -> None:
    """What joined two heads joins them in the edit, too, in the same order."""
    conversation, (_, first, second) = asked_twice()
    joined = conversation.append("user", "Both?", parents=[second.id, first.id])
    edited = conversation.edit(joined.id, "Neither?", parts=[new_part("reasoning", text="hm")])
    assert edited.parents == (second.id, first.id)
    assert [part.type for part in edited.parts] == ["text", "reasoning"]


@pytest.mark.parametrize("taken", ["main", "plan", "idea"])
def test_an_edit_takes_no_name_that_is_taken(taken: str) -> None:
    """A branch with messages, or one that was only forked, is not written on by mistake."""
    conversation, (question, *_) = asked_twice()
    conversation.append("user", "aside", branch="plan", parents=[question.id])
    conversation.fork("idea", question.id)
    seq = conversation.last_seq
    with pytest.raises(InvalidMessage, match="already"):
        conversation.edit(question.id, "x", branch=taken)
    assert conversation.last_seq == seq


def test_a_merge_is_not_edited() -> None:
    """A merge says nothing that could be written anew."""
    conversation, (question, *_) = asked_twice()
    conversation.append("user", "aside", branch="plan", parents=[question.id])
    merged = conversation.merge("plan")
    assert merged is not None
    with pytest.raises(InvalidMessage):
        conversation.edit(merged.id, "x")
    assert conversation.branches == ["main", "plan"]


# Asking again


def test_asking_again_at_the_end_asks_for_an_alternative() -> None:
    """The run has the reply's parents and stays on its branch."""
    conversation, (question, first, _) = asked_twice()
    run = conversation.runs.again(first.id, LLAMA)
    assert (run.parents, run.branch, run.target) == ((question.id,), "main", LLAMA)


@pytest.mark.parametrize(("name", "expected"), [(None, "main-2"), ("calmer", "calmer")])
def test_asking_again_for_what_was_continued_asks_for_a_fork(name: str | None, expected: str) -> None:
    """The run names a new branch, also where it asks for the reply beside the continued one."""
    conversation, (question, first, second) = asked_twice(continued=True)
    for reply in (first, second):
        run = conversation.runs.again(reply.id, LLAMA, name)
        assert (run.parents, run.branch) == ((question.id,), expected)
    assert shown(conversation) == ["Where?", "Rome.", "When?"]


def test_only_answers_are_asked_for_again() -> None:
    """A question, or an answer to nothing, is refused."""
    conversation, (question, *_) = asked_twice()
    welcome = conversation.append("assistant", "Welcome.", parents=[])
    for message in (question, welcome):
        with pytest.raises(InvalidMessage, match="answers nothing"):
            conversation.runs.again(message.id, LLAMA)
    assert conversation.runs.all() == []


# Branches


def test_a_free_name_counts_on() -> None:
    """A name is made from the branch's, its number goes on, and no name that is taken is given."""
    conversation, (question, *_) = asked_twice()
    table = {"main": "main-2", "main-2": "main-2", "plan-b": "plan-b-2", "plan-7": "plan-2", "-": "--2"}
    assert {name: conversation.free_branch(name) for name in table} == table
    for expected in ("main-2", "main-3", "main-4"):
        assert conversation.free_branch("main") == expected
        conversation.fork(expected, question.id)
    assert conversation.free_branch("main-3") == "main-5"


def test_a_branch_of_the_longest_name_can_be_edited() -> None:
    """The fork of a branch whose name has 200 characters gets a name that may be."""
    conversation, (question, *_) = asked_twice()
    aside = conversation.append("user", "aside", branch="b" * 200, parents=[question.id])
    assert texts([conversation.edit(aside.id, "anew")]) == ["anew"]


def test_a_title_and_an_archive_mark_go_with_a_branch() -> None:
    """The name stays, and so does all that was written on the branch."""
    conversation, (question, *_) = asked_twice()
    conversation.fork("plan", question.id)
    conversation.rename_branch("plan", "A plan")
    conversation.archive_branch("plan")
    assert conversation.branch("plan") == Branch("plan", "A plan", is_archived=True)
    assert shown(restarted(conversation), "plan") == ["Where?"]
    conversation.archive_branch("plan", archived=False)
    assert conversation.branch("plan") == Branch("plan", "A plan", is_archived=False)


@pytest.mark.parametrize("branch", ["main", "plan"])
def test_a_branch_that_nobody_described_can_be(branch: str) -> None:
    """``main``, and a branch that began with its first message, have no entry until they get a title."""
    conversation, (question, *_) = asked_twice()
    conversation.append("user", "aside", branch="plan", parents=[question.id])
    assert conversation.read("branches") == {}
    conversation.rename_branch(branch, "A plan")
    conversation.archive_branch(branch)
    assert restarted(conversation).branch(branch) == Branch(branch, "A plan", is_archived=True)
    assert conversation.branches == ["main", "plan"]


def test_an_unknown_branch_can_t_be_described() -> None:
    """A slip of the pen makes no branch."""
    conversation, _ = asked_twice()
    with pytest.raises(UnknownBranch):
        conversation.rename_branch("plam", "x")
    with pytest.raises(UnknownBranch):
        conversation.archive_branch("plam")
    with pytest.raises(InvalidMessage):
        conversation.rename_branch("main", "\ud800")
    assert conversation.read("branches") == {}


def test_a_title_and_an_archive_mark_set_apart_are_both_kept() -> None:
    """One device names a branch while another puts it away: both happened."""
    one, (question, *_) = asked_twice()
    one.fork("plan", question.id)
    other = copy_of(one)
    one.rename_branch("plan", "A plan")
    other.archive_branch("plan")
    exchange(one, other)
    assert one.branch("plan") == other.branch("plan") == Branch("plan", "A plan", is_archived=True)


def test_a_branch_described_for_the_first_time_on_two_devices_converges() -> None:
    """Where neither device had an entry, both read the same afterwards, and the branch is still there."""
    one, _ = asked_twice()
    other = copy_of(one)
    one.rename_branch("main", "A plan")
    other.archive_branch("main")
    exchange(one, other)
    assert one.branch("main") == other.branch("main") == restarted(one).branch("main")
    assert one.branch("main") in (
        Branch("main", "A plan", is_archived=False),
        Branch("main", "main", is_archived=True),
    )


def test_a_fork_made_apart_under_one_name_loses_no_message() -> None:
    """Two devices that take the same name for different forks both keep what they wrote there."""
    one, (question, first, _) = asked_twice()
    other = copy_of(one)
    one.fork("plan", question.id)
    one.append("user", "here", branch="plan")
    other.fork("plan", first.id)
    other.append("user", "there", branch="plan")
    exchange(one, other)
    assert one.log("plan") == other.log("plan")
    assert {"here", "there"} < set(shown(one, "plan"))


# Diverged


def test_the_next_message_joins_what_diverged() -> None:
    """Three devices write apart; the log is called diverged until one of them writes on."""
    devices = [replica(name=name) for name in ("ann", "bob", "eve")]
    devices[0].append("user", "together")
    exchange(*devices)
    for device in devices:
        device.append("user", device.author.name)
    exchange(*devices)
    assert [device.log().is_diverged for device in devices] == [True] * 3
    joined = devices[2].append("user", "joined")
    exchange(*devices)
    assert len(joined.parents) == 3
    assert all(device.log() == devices[0].log() for device in devices)
    assert not devices[0].log().is_diverged
    assert sorted(shown(devices[0])) == ["ann", "bob", "eve", "joined", "together"]


# Forks that are documents of their own


def test_a_fork_of_its_own_comes_back_whole() -> None:
    """Both sides write meanwhile; merging brings everything of the fork, and nothing is lost here."""
    with Store(":memory:") as store:
        original = store.create("Trip")
        original.append("user", "one")
        fork = store.fork(original.id)
        assert (fork.id != original.id, fork.forked_from, fork.title) == (True, original.id, "Trip")
        original.append("user", "here")
        fork.append("user", "there")
        assert (shown(original), shown(fork)) == (["one", "here"], ["one", "there"])
        assert original.merge_document(fork)
        assert sorted(shown(original)) == ["here", "one", "there"]
        assert (original.forked_from, fork.forked_from) == (None, original.id)
        assert not original.merge_document(fork)


def test_a_fork_that_was_merged_back_goes_on() -> None:
    """The next message joins both sides, and the fork takes it in as the original took its own."""
    with Store(":memory:") as store:
        original = store.create()
        original.append("user", "one")
        fork = store.fork(original.id, "Aside")
        fork.append("user", "there")
        original.append("user", "here")
        original.merge_document(fork)
        assert len(original.append("user", "joined").parents) == 2
        fork.merge_document(original)
        assert fork.log() == original.log()


def test_a_fork_reads_the_same_log() -> None:
    """Branches, choices and digests of the original are the fork's, up to where it was forked."""
    with Store(":memory:") as store:
        original = store.create()
        first = original.append("user", "one")
        original.fork("plan", first.id)
        original.append("assistant", "two")
        fork = store.fork(original.id)
        assert (fork.log(), fork.branches) == (original.log(), ["main", "plan"])


@pytest.mark.parametrize("into", [0, 1])
def test_a_fork_of_a_fork_changes_no_origin(into: int) -> None:
    """Merging a grandchild back into its parent or grandparent leaves them what they were forked from."""
    with Store(":memory:") as store:
        original = store.create()
        original.append("user", "one")
        child = store.fork(original.id)
        grandchild = store.fork(child.id)
        (original, child)[into].merge_document(grandchild)
        assert (original.forked_from, child.forked_from) == (None, original.id)


def test_a_branch_that_is_a_plain_object_keeps_where_it_forked() -> None:
    """Another program's entry is described like ours, and nothing of it is lost."""
    conversation, (question, *_) = asked_twice()
    doc: Doc[Map[object]] = Doc()
    doc.get("branches", type=Map)["aside"] = {"forked_at": question.id, "mood": "good"}
    conversation.receive(doc.get_update())
    conversation.rename_branch("aside", "Aside")
    assert conversation.branch("aside") == Branch("aside", "Aside", is_archived=False)
    assert shown(conversation, "aside") == ["Where?"]
    assert conversation.read("branches", "aside")["mood"] == "good"
