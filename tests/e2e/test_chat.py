"""``conv chat`` at a real terminal, with a strict local provider, on the store and through a daemon."""

from __future__ import annotations

import signal
from pathlib import Path

from crdt_conv import Store
from tests.e2e.programs import daemon
from tests.e2e.providing import DELETES, asking, configured, conv, conv_json, provider
from tests.e2e.terminals import ALT_ENTER, CTRL_C, TAB, UP, terminal
from tests.providers.serving import Answer

PASTED = "\x1b[200~one\ntwo\x1b[201~"


def texts(db: Path, branch: str = "main") -> list[str]:
    """Return what the messages of the only conversation say."""
    [listed] = conv_json(db, "ls")
    return [
        message["text"] for message in conv_json(db, "show", listed["id"], "--branch", branch)["messages"]
    ]


def test_a_session_with_several_lines_and_history(tmp_path: Path) -> None:
    """Alt-Enter, a backslash and a paste make one message of several lines; the next session knows them."""
    db = tmp_path / "chats.db"
    answers = [Answer(f"Answer {number}.") for number in range(1, 6)]
    with provider(*answers) as (_, url):
        with terminal(db, "chat", *asking(url)) as screen:
            screen.expect("/help shows")
            screen.expect("main>")
            screen.type(f"a{ALT_ENTER}b")
            screen.enter("")
            screen.expect("Answer 1.")
            screen.enter("c\\")
            screen.enter("d")
            screen.expect("Answer 2.")
            screen.type(PASTED)
            screen.enter("")
            screen.expect("Answer 3.")
            screen.enter("/quit")
            assert screen.ended() == 0
        [listed] = conv_json(db, "ls")
        with terminal(db, "chat", listed["id"], *asking(url)) as screen:
            screen.expect("main>")
            # The last entry is "/quit".
            screen.type(f"{UP}{UP}")
            screen.enter("")
            screen.expect("Answer 4.")
            screen.enter("/quit")
            assert screen.ended() == 0
    assert texts(db) == [
        *("a\nb", "Answer 1.", "c\nd", "Answer 2.", "one\ntwo", "Answer 3."),
        *("one\ntwo", "Answer 4."),
    ]
    history = Path(f"{db}.history")
    assert history.stat().st_mode & 0o777 == 0o600


def test_ctrl_c_cancels_an_answer_and_twice_leaves(tmp_path: Path) -> None:
    """Once: the run is cancelled, and the session goes on. Twice: it ends; the store is whole."""
    db = tmp_path / "chats.db"
    with (
        provider(Answer("Never. " * 100_000), Answer("Here.")) as (_, url),
        terminal(db, "chat", *asking(url)) as screen,
    ):
        screen.expect("main>")
        screen.enter("Talk.")
        screen.expect("Never. Never.")
        screen.type(CTRL_C)
        screen.expect("cancelled")
        screen.expect("main>")
        screen.enter("Still there?")
        screen.expect("Here.")
        screen.expect("main>")
        # As a signal, it does the same as the key.
        screen.process.send_signal(signal.SIGINT)
        screen.expect("Ctrl-C again leaves")
        screen.expect("main>")
        screen.type(CTRL_C)
        assert screen.ended() == 0
    with Store(db) as store:
        conversation = store.open(store.list()[0].id)
        assert [run.state for run in conversation.runs.all()] == ["cancelled", "complete"]
        assert conversation.verify() == []
        assert store.check() == []


def test_slash_commands(tmp_path: Path) -> None:
    """Each does what its help says, and a mistake is told and harms nothing."""
    db, exported, picture = tmp_path / "chats.db", tmp_path / "out.md", tmp_path / "a.txt"
    picture.write_text("hello")
    answers = [Answer(text) for text in ("First.", "Second.", "Third.", "Fourth.", "Fifth.")]
    with provider(*answers) as (server, url), terminal(db, "chat", *asking(url)) as screen:
        screen.expect("main>")
        for typed, told in (
            ("/merge", "error: say what: /merge BRANCH"),
            ("/nothing", "error: there is no /nothing"),
            ("/edit x", "there is no message of yours"),
            ("/title Trip to Lisbon", "Trip to Lisbon"),
            ("Where?", "First."),
            ("/again", "Second."),
            ("/fork plan-b", "branch plan-b begins"),
            ("If it rains?", "Third."),
            ("/branch main", "branches: main, plan-b"),
            ("/branch", "● main"),
            ("/merge plan-b", "merged plan-b"),
            ("/tree", "If it rains?"),
            ("/edit When?", "Fourth."),
            ("/branch", "● plan-b-2"),
            (f"/attach {picture}", "a.txt goes with the next message"),
            ("What is this?", "Fifth."),
            ("/model other", "ollama other"),
            ("/model crow x", "ollama crow x"),
            ("/explain", "the log does not end with a user's message"),
            ("/hidden", "digest:"),
            ("/tools", "No tools"),
            ("/approve", "nothing waits"),
            ("/export nonsense", "error: no format 'nonsense'"),
            (f"/export markdown {exported}", "wrote"),
            (f"/export markdown {exported}", "File exists"),
        ):
            screen.enter(typed)
            screen.expect(told)
        # What is begun is completed, and what stands behind it, too.
        screen.type(f"/ti{TAB}")
        screen.expect("/title")
        screen.enter("")
        screen.expect("Trip to Lisbon")
        screen.type(f"/branch mai{TAB}")
        screen.expect("main")
        screen.enter("")
        screen.expect("If it rains?")
        screen.enter("/exit")
        assert screen.ended() == 0
    assert "When?" in exported.read_text()
    assert [request["model"] for request in server.requests] == ["m"] * 5
    assert texts(db, "plan-b")[-1] == "Third."


def test_news_from_another_device_appears_above_the_prompt(tmp_path: Path) -> None:
    """What is written elsewhere is shown while a person types, and what is typed stays."""
    db = tmp_path / "chats.db"
    with provider(Answer("Hello.")) as (_, url), daemon(db, environ={"OLLAMA_HOST": url}):
        trip = conv_json(db, "new")["id"]
        with terminal(db, "chat", trip, "--adapter", "ollama", "--model", "m") as screen:
            screen.expect("main>")
            screen.type("Half a li")
            screen.expect("Half a li")
            conv(db, "append", trip, "Written on the phone.", environ={"CONV_NAME": "phone"})
            screen.expect("Written on the phone.")
            screen.enter("ne")
            screen.expect("Hello.")
            screen.enter("/quit")
            assert screen.ended() == 0
    assert texts(db) == ["Written on the phone.", "Half a line", "Hello."]


def test_calls_are_asked_for_and_always_is_for_this_chat(tmp_path: Path) -> None:
    """Denied first; then always: the third is not asked for. What waited before is told, and answered."""
    db, environ = tmp_path / "chats.db", configured(tmp_path)
    with provider(DELETES, DELETES, DELETES, DELETES, Answer("Done.")) as (_, url):
        trip = conv_json(db, "new")["id"]
        conv(db, "run", trip, "Do it.", *asking(url), code=1, environ=environ)
        with terminal(db, "chat", trip, *asking(url), environ=environ) as screen:
            screen.expect('files_delete {"path":"a"} waits: /approve')
            screen.enter("/approve")
            screen.expect("may it be called?")
            screen.enter("n")
            screen.expect("waits: /approve")
            screen.enter("/approve")
            screen.expect("may it be called?")
            screen.enter("always")
            screen.enter("/quit")
            screen.ended()
    results = [
        part["is_error"]
        for message in conv_json(db, "show", trip)["messages"]
        for part in message["parts"]
        if part["type"] == "tool_result"
    ]
    assert results[:1] == [True]


def test_without_a_terminal_lines_are_read(tmp_path: Path) -> None:
    """Each line of a pipe is a message, or a command; the end of input ends it."""
    db = tmp_path / "chats.db"
    with provider(Answer("One."), Answer("Two.")) as (_, url):
        told = conv(db, "chat", *asking(url), stdin="Hi\n\nAnd?\n/title Piped\n")
    assert "Two." in told
    assert texts(db) == ["Hi", "One.", "And?", "Two."]
    assert conv_json(db, "ls")[0]["title"] == "Piped"
