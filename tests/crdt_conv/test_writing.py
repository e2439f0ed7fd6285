"""Writing at the edges: odd words, a log that fails halfway, nested changes, the end of time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crdt_conv import (
    Author,
    Change,
    Conversation,
    ConversationId,
    CrdtConvError,
    InvalidMessage,
    Store,
    StoreFull,
    Target,
    UnknownMessage,
    UnknownRun,
    new_part,
)
from crdt_conv.engine import Listed
from tests.crdt_conv import handmade as by_hand
from tests.replicas import replica, restarted, texts

HALF = "\ud800"

ODD_WORDS: dict[str, Callable[[Conversation], object]] = {
    "a streamed piece": lambda c: c.writer(c.heads()[0].id).write(HALF),
    "a part's key": lambda c: c.append("user", parts=[new_part("tool_call", name=HALF)]),
    "arguments": lambda c: c.append("user", parts=[new_part("tool_call", arguments=HALF)]),
    "an author": lambda c: c.append("user", "x", author=Author("human", name=HALF)),
    "a model": lambda c: c.stream(model=HALF),
    "a target": lambda c: c.runs.request(Target(HALF)),
    "a great integer": lambda c: c.append("user", parts=[new_part("opaque", data=2**70)]),
    "a set": lambda c: c.append("user", parts=[new_part("opaque", data={1})]),
    "a number as text": lambda c: c.append("user", parts=[new_part("text", text=5)]),
}


def answered() -> Conversation:
    """Return a conversation with an answer that streams."""
    conversation = replica()
    conversation.append("user", "one")
    conversation.stream().write("two")
    return conversation


def attempt(act: Callable[[Conversation], object], conversation: Conversation) -> BaseException | None:
    """Return what was raised: pycrdt's panic is a BaseException."""
    try:
        act(conversation)
    except BaseException as error:  # noqa: BLE001 - the test asks which it is
        return error
    return None


@pytest.mark.parametrize("odd", ODD_WORDS.values(), ids=ODD_WORDS.keys())
def test_what_can_t_be_written_leaves_no_trace(odd: Callable[[Conversation], object]) -> None:
    """A value that pycrdt chokes on halfway is an error, and nothing of it is in memory or in the log."""
    conversation = answered()
    before, seq = conversation.log(), conversation.last_seq
    assert attempt(odd, conversation) is not None
    assert conversation.log() == restarted(conversation).log() == before
    assert (conversation.last_seq, conversation.runs.all()) == (seq, [])


@pytest.mark.parametrize("odd", ODD_WORDS.values(), ids=ODD_WORDS.keys())
def test_what_can_t_be_written_is_an_error_of_ours(odd: Callable[[Conversation], object]) -> None:
    """A value that can't be written is refused by an error that callers know to catch."""
    assert isinstance(attempt(odd, answered()), CrdtConvError)


@pytest.mark.parametrize("name", ["title", "conversation_id"])
def test_a_conversation_s_odd_name_is_an_error_of_ours(name: str) -> None:
    """Half a surrogate pair, which JSON over HTTP can carry, is refused by an error of ours."""
    with Store(":memory:") as store:
        error = attempt(lambda _: store.create(**{name: HALF}), replica())
        assert isinstance(error, CrdtConvError)


class ForgetfulStore(Store):
    """A store with room for an update, and none for what the list shows."""

    def describe(self, conversation: ConversationId, listed: Listed) -> None:
        raise StoreFull("the disk is full")


def test_what_is_durable_is_told_even_if_the_list_can_t_be_kept() -> None:
    """An update that is in the log reaches subscribers, so that it reaches other replicas."""
    conversation = ForgetfulStore(":memory:").join("c")
    heard: list[Change] = []
    conversation.subscribe(heard.append)
    attempt(lambda c: setattr(c, "title", "Trip"), conversation)
    assert len(heard) == conversation.last_seq == 1


def test_changes_inside_changes_are_refused() -> None:
    """Writing inside of writing would reach the document and not the log."""
    conversation = answered()
    with pytest.raises(InvalidMessage, match="already"), conversation.writing():
        conversation.title = "inner"
    assert conversation.document.read("meta") == restarted(conversation).document.read("meta") == {}


def test_an_error_while_writing_leaves_no_trace() -> None:
    """What a caller began and could not finish did not happen."""
    conversation = answered()

    def give_up_halfway() -> None:
        with conversation.writing() as document:
            document.put("meta", "title", "half")
            raise KeyError

    with pytest.raises(KeyError):
        give_up_halfway()
    assert (conversation.title, restarted(conversation).title) == ("", "")


def test_a_subscriber_may_write() -> None:
    """What is written because of a change is a change of its own, and both are durable."""
    conversation = replica()
    seqs: list[int] = []

    def answer(change: Change) -> None:
        seqs.append(change.seq)
        if len(seqs) == 1:
            conversation.append("assistant", "Hi.")

    conversation.subscribe(answer)
    conversation.append("user", "Hello.")
    assert (seqs, texts(restarted(conversation).log().messages)) == ([1, 2], ["Hello.", "Hi."])


def test_who_stopped_listening_hears_nothing() -> None:
    """The way to stop works."""
    conversation, heard = replica(), list[Change]()
    stop = conversation.subscribe(heard.append)
    stop()
    conversation.append("user", "one")
    assert heard == []


def at_the_end_of_time() -> Conversation:
    """Return a conversation with a message from the last millisecond, and a fork of it."""
    conversation = replica()
    conversation.receive(by_hand.entry(7, "last", created=by_hand.double(2**53 - 1)))
    conversation.append("user", "here")
    conversation.append("user", "there", branch="plan", parents=["last"])
    return conversation


def test_the_end_of_time_can_be_answered() -> None:
    """After a message from the last millisecond people still write."""
    conversation = at_the_end_of_time()
    assert texts(conversation.log().messages) == ["", "here"]
    assert not conversation.problems()


def test_the_end_of_time_can_be_merged() -> None:
    """A merge of such messages is a message that can be read."""
    conversation = at_the_end_of_time()
    merged = conversation.merge("plan")
    assert merged is not None
    assert not conversation.problems()


def raw_run(**more: bytes) -> bytes:
    """Return a run as another program may write it: contract 3's keys, as plain values."""
    fields = {
        "parents": by_hand.array(by_hand.string("q")),
        "target": by_hand.mapping(adapter=by_hand.string("a")),
    }
    items = [by_hand.item(by_hand.type_of(by_hand.MAP), "runs", "r")]
    items += [by_hand.item(by_hand.values(value), (9, 0), key) for key, value in (fields | more).items()]
    return by_hand.update(9, 0, items)


@pytest.mark.parametrize(
    "more", [{}, {"claims": by_hand.array(), "outputs": by_hand.array()}], ids=["none", "plain"]
)
def test_a_run_that_another_program_requested_is_written_down(more: dict[str, bytes]) -> None:
    """Claims and outputs are recorded, whoever made the run's entry, and however."""
    conversation = replica()
    answer = conversation.append("assistant", "Hi.")
    conversation.receive(raw_run(**more))
    conversation.runs.claim("r", "box", 1)
    run = conversation.runs.update("r", output=answer.id, state="complete")
    assert (run.epoch, run.outputs) == (1, (answer.id,))


def test_claims_of_strangers_are_read() -> None:
    """An epoch that is no number counts for nothing."""
    conversation = replica()
    odd = (by_hand.double(float("inf")), by_hand.string("two"), by_hand.double(3.0))
    conversation.receive(raw_run(claims=by_hand.array(*(by_hand.mapping(epoch=value) for value in odd))))
    assert conversation.runs["r"].epoch == 3


def test_every_branch_that_is_listed_can_be_read() -> None:
    """A branch that another program named before anything was written on it has a log."""
    conversation = replica()
    items = [by_hand.item(by_hand.type_of(by_hand.MAP), "branches", "idea")]
    items.append(by_hand.item(by_hand.values(by_hand.string("Idea")), (9, 0), "title"))
    conversation.receive(by_hand.update(9, 0, items))
    for branch in conversation.branches:
        conversation.log(branch)


def test_what_is_not_there_can_t_be_written() -> None:
    """A writer or a run of an unknown id is an error with that id."""
    conversation = replica()
    with pytest.raises(UnknownMessage, match="nobody"):
        conversation.writer("nobody")
    with pytest.raises(UnknownRun, match="nobody"):
        conversation.runs.update("nobody", state="complete")


def test_a_writer_outlives_a_failed_write() -> None:
    """A writer holds an id only: after an error the message goes on where the log ends."""
    conversation = answered()
    writer = conversation.writer(conversation.heads()[0].id)
    attempt(lambda _: writer.write(HALF), conversation)
    writer.write(" three")
    writer.add(new_part("tool_call", call_id="1", name="f", arguments="{}"))
    assert writer.finish("interrupted").text == "two three"
    assert restarted(conversation).log() == conversation.log()
