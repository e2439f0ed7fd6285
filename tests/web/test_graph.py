"""The web client reads and writes documents itself, in TypeScript: held against the Python implementation."""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Array, Doc, Map

from crdt_conv import Conversation, HiddenField, InvalidMessage, Store, Target
from crdt_conv.document.schema import ROOTS

WEB = Path(__file__).parents[2] / "syncd" / "web"
ROLLDOWN = WEB / "node_modules" / ".bin" / "rolldown"
SEEDS = range(12)
STEPS = 45
STATUSES = ("complete", "complete", "complete", "interrupted", "failed", "cancelled", "streaming")

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not ROLLDOWN.exists(),
    reason="node, or the packages of syncd/web, are missing: npm ci --prefix syncd/web",
)


# Documents


def _append(random_: random.Random, conversation: Conversation) -> None:
    text = random_.choice(["a", "é 🜁 \u2028", "x" * 300, '"\\\n\t\x7f', ""])
    hidden = [HiddenField("p", "s", "k", b"1234")] if random_.random() < 0.3 else []
    role = random_.choice(["user", "assistant", "assistant", "tool", "system"])
    conversation.append(role, text, branch=random_.choice(conversation.branches), hidden=hidden)


def _stream(random_: random.Random, conversation: Conversation) -> None:
    parents = random_.choice(conversation.messages()).parents if random_.random() < 0.5 else None
    writer = conversation.stream(
        branch=random_.choice(conversation.branches) if parents is None else "main", parents=parents
    )
    writer.write("one ")
    writer.write("two")
    status = random_.choice(STATUSES)
    if status != "streaming":
        writer.finish(status, usage={"output_tokens": 3, "cost": 0.25})


def _answer_twice(random_: random.Random, conversation: Conversation) -> None:
    """Have two executors that were cut off from each other answer a run: the later epoch wins."""
    run = conversation.runs.request(Target("llamacpp"), random_.choice(conversation.branches))
    for epoch in random_.choice([(1, 2), (2, 1), (3, 3)]):
        writer = conversation.stream(branch=run.branch, parents=run.parents, run=run.id)
        writer.write(f"under {epoch}")
        writer.finish()
        conversation.runs.update(run.id, output=writer.message_id, epoch=epoch, state="complete")
    if random_.random() < 0.5:
        # A third one, which gave up: the run is complete all the same.
        conversation.runs.update(run.id, state="interrupted")


def _edit(random_: random.Random, conversation: Conversation) -> None:
    message = random_.choice(conversation.messages())
    conversation.edit(message.id, "again")


def _fork(random_: random.Random, conversation: Conversation) -> None:
    at = random_.choice(conversation.messages()).id
    conversation.fork(f"fork {random_.randrange(10**6)}", at)


def _merge(random_: random.Random, conversation: Conversation) -> None:
    source, into = (random_.choice(conversation.branches) for _ in range(2))
    conversation.merge(source, into)


def _choose(random_: random.Random, conversation: Conversation) -> None:
    conversation.choose(random_.choice(conversation.messages()).id)


def _redact(random_: random.Random, conversation: Conversation) -> None:
    conversation.redact(random_.choice(conversation.messages()).id)


def _describe(random_: random.Random, conversation: Conversation) -> None:
    conversation.archive_branch(random_.choice(conversation.branches))
    conversation.rename_branch(random_.choice(conversation.branches), "other")


DOINGS: tuple[Callable[[random.Random, Conversation], None], ...] = (
    *[_append] * 5, *[_stream] * 3, *[_answer_twice] * 2, _edit, _fork, _merge, _choose, _redact, _describe,
)  # fmt: skip


def document(seed: int) -> Conversation:
    """Return what two devices made of a conversation, apart and together."""
    random_ = random.Random(seed)
    stores = [Store(":memory:", name=name) for name in ("ann", "ben")]
    first = stores[0].create("T")
    first.append("user", "begin")
    devices = [first, stores[1].join(first.id)]
    devices[1].receive(first.encode())
    for _ in range(STEPS):
        if random_.random() < 0.12:
            devices[1].receive(devices[0].encode(devices[1].state_vector))
            devices[0].receive(devices[1].encode(devices[0].state_vector))
        try:
            random_.choice(DOINGS)(random_, random_.choice(devices))
        except InvalidMessage:
            # Not everything can be chosen, merged or redacted.
            continue
    devices[0].receive(devices[1].encode(devices[0].state_vector))
    return devices[0]


STRANGE: dict[str, dict[str, Any]] = {
    "no-role": {"parents": []},
    "parents-no-list": {"role": "user", "parents": "x"},
    "parents-of-numbers": {"role": "user", "parents": [1]},
    "created-negative": {"role": "user", "parents": [], "created": -1},
    "created-text": {"role": "user", "parents": [], "created": "x"},
    "created-null": {"role": "user", "parents": [], "created": None},
    "created-far": {"role": "user", "parents": [], "created": 2**60},
    "created-half": {"role": "user", "parents": [], "created": 5.5},
    "status-number": {"role": "user", "parents": [], "status": 7},
    "status-null": {"role": "user", "parents": [], "status": None},
    "nonce-text": {"role": "user", "parents": [], "nonce": "x"},
    "part-no-map": {"role": "user", "parents": [], "parts": ["x"]},
    "part-no-type": {"role": "user", "parents": [], "parts": [{"id": "x"}]},
    "author-text": {"role": "user", "parents": [], "author": "ann"},
    "author-number": {"role": "user", "parents": [], "author": {"kind": 3}},
    "hidden-text": {"role": "user", "parents": [], "hidden": "x"},
    "waits": {"role": "user", "parents": ["nowhere"]},
    "waits-too": {"role": "user", "parents": ["waits"]},
    "circle-a": {"role": "user", "parents": ["circle-b"]},
    "circle-b": {"role": "user", "parents": ["circle-a"]},
    "itself": {"role": "user", "parents": ["itself"]},
    "twice": {"role": "user", "parents": ["bare", "bare"]},
    "bare": {"role": "user", "parents": []},
    "redacted-null": {
        "role": "user", "parents": [], "redacted": None, "parts": [{"type": "text", "text": "x"}],
    },
    "redacted-true": {"role": "user", "parents": [], "redacted": True, "parts": ["not even a part"]},
    "unknown": {
        "role": "oracle", "parents": ["bare"], "parts": [{"type": "smell", "of": ["roses", 1.0, 2.5, True]}],
    },
    "numbers": {
        "role": "user", "parents": ["bare"], "branch": "zahlen",
        "parts": [{
            "type": "odd", "a": 0.1, "b": 1e21, "c": -0.0, "d": 2**53 - 1, "e": 1e-7, "f": None,
            "é\u2028": "\x00",
        }],
    },
    "__proto__": {"role": "user", "parents": ["bare"], "branch": "__proto__"},
    "\U0001f30d": {"role": "user", "parents": ["bare"], "created": 9, "branch": "odd ids"},
    "\uffee": {"role": "user", "parents": ["bare"], "created": 9, "branch": "odd ids"},
}  # fmt: skip


def strangers_document() -> bytes:
    """Return a document that was written past every rule."""
    doc: Doc[Any] = Doc()
    messages, choices, branches = (doc.get(name, type=Map) for name in ("messages", "choices", "branches"))
    for key, raw in STRANGE.items():
        messages[key] = Map(raw) if len(key) % 2 else raw
    messages["a text"] = "no message"
    messages["a list"] = Array([1])
    choices["bare"] = 7
    branches["no map"] = "x"
    branches["forked nowhere"] = Map({"forked_at": "nowhere"})
    branches["forked"] = Map({"title": 7, "forked_at": "bare"})
    doc.get("meta", type=Map)["title"] = 7
    return doc.get_update()


# Both sides


def shown(conversation: Conversation) -> dict[str, Any]:
    """Return what the Python implementation makes of a document, as ``crosscheck.ts`` prints it."""
    ids = [message.id for message in conversation.messages()]
    hiding: dict[str, list[str]] = {}
    for problem in conversation.problems():
        hiding.setdefault(problem.code, []).append(problem.key)
    graph = conversation.graph
    return {
        "branches": {name: _branch(conversation, name) for name in conversation.branches},
        "waiting": sorted(each.message.id for each in graph.waiting()),
        "malformed": sorted(hiding.get("malformed", [])),
        "alternatives": {each: [other.id for other in graph.alternatives(each)] for each in ids},
        "continued": sorted(each for each in ids if graph.is_continued(each)),
        "digests": {each: conversation.digest(each).hex() for each in ids},
        "hidden": {each: graph[each].hidden_count for each in ids},
        "free": conversation.free_branch("main"),
        "title": conversation.title,
        "runs": {run.id: run.state for run in conversation.runs.all()},
    }


def _branch(conversation: Conversation, name: str) -> dict[str, Any]:
    branch, log = conversation.branch(name), conversation.log(name)
    return {
        "title": branch.title,
        "archived": branch.is_archived,
        "heads": [head.id for head in log.heads],
        "log": [message.id for message in log.messages],
        "digest": log.digest.hex(),
        "next": list(conversation.next_parents(name)),
    }


def read(update: bytes) -> Conversation:
    """Return a replica of a document."""
    conversation = Store(":memory:", name="reader").join("c")
    conversation.receive(update)
    return conversation


def encoded(update: bytes) -> str:
    """Return bytes as JSON carries them."""
    return base64.b64encode(update).decode()


@pytest.fixture(scope="module")
def documents() -> list[bytes]:
    """Return documents that devices and strangers made."""
    return [*(document(seed).encode() for seed in SEEDS), strangers_document()]


@pytest.fixture(scope="module")
def merges(documents: list[bytes]) -> list[dict[str, str]]:
    """Return merges to be made: every branch into the first, document by document."""
    return [
        {"update": encoded(update), "source": name, "into": "main"}
        for update in documents[:4]
        for name in read(update).branches[1:6]
    ]


@pytest.fixture(scope="module")
def answer(
    tmp_path_factory: pytest.TempPathFactory, documents: list[bytes], merges: list[dict[str, str]]
) -> Any:
    """Run the TypeScript implementation over all of it, once."""
    script = tmp_path_factory.mktemp("crosscheck") / "crosscheck.mjs"
    command = [str(ROLLDOWN), "test/crosscheck.ts", "--platform", "node", "--file", str(script)]
    subprocess.run(command, cwd=WEB, check=True, capture_output=True)
    # A document with a gap that only closes later, and an orphan, is no place to write in.
    asked = {
        "documents": [encoded(update) for update in documents],
        "merges": merges,
        "continued": [encoded(update) for update in documents[:6]],
    }
    done = subprocess.run(
        ["node", script], cwd=WEB, check=True, capture_output=True, input=json.dumps(asked), text=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("place", [*SEEDS, len(SEEDS)])
def test_both_read_a_document_alike(answer: Any, documents: list[bytes], place: int) -> None:
    """Branches, heads, logs, digests, alternatives, what waits, what is malformed: the same on both sides."""
    assert answer["documents"][place] == shown(read(documents[place]))


def test_a_merge_made_on_both_sides_is_one_message(answer: Any, merges: list[dict[str, str]]) -> None:
    """The same id, the same digest, and both updates together hold it once."""
    made = 0
    for merge, theirs in zip(merges, answer["merges"], strict=True):
        ours = read(base64.b64decode(merge["update"]))
        message = ours.merge(merge["source"])
        assert theirs["id"] == (message.id if message is not None else None)
        made += message is not None
        before = shown(ours)
        assert theirs["shown"] == before
        ours.receive(base64.b64decode(theirs["update"]))
        assert shown(ours) == before
    assert made > 3


@pytest.mark.parametrize("place", range(7))
def test_python_reads_what_the_client_writes(answer: Any, documents: list[bytes], place: int) -> None:
    """Every kind of change, alone and on another's document: nothing is malformed, both see the same."""
    theirs = answer["written"][place]
    conversation = read(base64.b64decode(theirs["update"]))
    assert theirs["shown"] == shown(conversation)
    known = read(documents[place - 1]).problems() if place else []
    assert [problem for problem in conversation.problems() if problem not in known] == []
    assert set(_roots(conversation)) <= set(ROOTS)
    assert conversation.drafts["web-1"] == "not sent 🜂 yet!"
    mine = [run for run in conversation.runs.all() if run.requested_by == "web-1"]
    assert [run.cancel for run in mine] == [True, False]
    assert all(run.target == Target("llamacpp", params={"temperature": 0.5}) for run in mine)


def _roots(conversation: Conversation) -> list[str]:
    doc: Doc[Any] = Doc()
    doc.apply_update(conversation.encode())
    return [name for name, _ in doc.items()]


def test_what_the_client_redacts_is_gone(answer: Any) -> None:
    """Nothing of the text is left in the document; the place of the message stays."""
    update = base64.b64decode(answer["written"][0]["update"])
    assert b"a secret" not in update
    conversation = read(update)
    redacted = [message for message in conversation.messages() if message.status == "redacted"]
    assert [(message.parts, message.nonce) for message in redacted] == [((), b"")]
    # The mark that a status written at the same time can't undo: ours would be set by whoever reads it here.
    doc: Doc[Any] = Doc()
    doc.apply_update(update)
    assert doc.get("messages", type=Map)[redacted[0].id].get("redacted") is True
