"""Log lines: their form, and what never stands in one, whoever logs it."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from starlette.applications import Starlette

from crdt_conv import StoreError
from syncd.limits import Limits
from syncd.logs.events import FIELDS, MAX_TEXT, LogFormat, LogLevel, default_format, event, start_logging
from syncd.logs.redaction import HIDDEN, Redactor
from syncd.server import Server

SECRET = "s3cret-of-the-daemon"
CONTENT = "what ann wrote"


class Log:
    """A log that is written to memory."""

    def __init__(self, log_format: LogFormat | None = None, level: LogLevel = LogLevel.DEBUG) -> None:
        self.stream = io.StringIO()
        self.redactor: Redactor = start_logging(log_format, level, self.stream)

    @property
    def lines(self) -> list[str]:
        for handler in logging.getLogger().handlers:
            handler.flush()
        return self.stream.getvalue().splitlines()

    def only(self) -> dict[str, Any]:
        """Return the one line there is, read as JSON."""
        [line] = self.lines
        fields: dict[str, Any] = json.loads(line)
        return fields


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave logging as it was."""
    names = (None, *logging.getLogger().manager.loggerDict)
    loggers = [logging.getLogger(name) for name in names]
    states = [(each, each.level, each.propagate, list(each.handlers)) for each in loggers]
    hook, last = threading.excepthook, logging.lastResort
    yield
    for each, level, propagates, handlers in states:
        each.setLevel(level)
        each.propagate = propagates
        each.handlers[:] = handlers
    logging.captureWarnings(capture=False)
    threading.excepthook, logging.lastResort = hook, last
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = True


def raised(error: Exception) -> Exception:
    """Return an exception that has been somewhere."""
    try:
        raise error
    except Exception as same:  # noqa: BLE001
        return same


def test_a_line_is_one_json_object() -> None:
    """Time in UTC, level, logger, event, message and what is known, in this order; nothing that is not."""
    log = Log()
    extra = event("update_refused", connection="ab12", conversation="c", code=4400, seconds=1.23456)
    logging.getLogger("syncd").warning("refused: %s", "it is none", extra=extra)
    line = log.only()
    assert list(line) == [
        "time",
        "level",
        "logger",
        "event",
        "message",
        "conversation",
        "connection",
        "code",
        "seconds",
    ]
    assert (line["level"], line["message"], line["code"]) == ("warning", "refused: it is none", 4400)
    assert line["seconds"] == 1.235
    assert line["time"].endswith("Z")
    assert datetime.fromisoformat(line["time"]).utcoffset() is not None


def test_what_is_not_in_the_list_is_not_written() -> None:
    """An ``extra`` that nobody thought of does not get out."""
    log = Log()
    logging.getLogger("syncd").error("x", extra={"text": CONTENT, "token": SECRET, "sub": "ann"})
    assert log.only()["sub"] == "ann"
    assert not {CONTENT, SECRET} & set(log.only().values())


def test_a_field_that_nobody_knows_is_a_fault() -> None:
    """Whoever gives one hears of it, rather than missing it in the log."""
    with pytest.raises(AssertionError):
        event("x", text=CONTENT)


def test_a_stranger_s_name_can_t_forge_a_line() -> None:
    """Line ends and odd characters in what others choose stay inside the line, in both forms."""
    for log_format in LogFormat:
        log = Log(log_format)
        odd = event("x", conversation='c\n{"level": "info"}\r\x1b[2J\u2028\ud800 "')
        logging.getLogger("syncd").warning("a\nb", extra=odd)
        [line] = log.lines
        assert line.isprintable()
        assert line.isascii()


def test_a_long_name_is_cut() -> None:
    """A line is bounded, whatever a conversation is called; a secret at the cut is hidden before it."""
    log = Log()
    log.redactor.hide(SECRET)
    name = "x" * (MAX_TEXT - 8) + SECRET + "y" * MAX_TEXT
    logging.getLogger("syncd").warning("m", extra=event("e", conversation=name))
    assert len(log.lines[0]) < MAX_TEXT + 500
    assert SECRET[:8] not in log.lines[0]


@pytest.mark.parametrize("log_format", LogFormat)
@pytest.mark.parametrize("name", ["syncd", "uvicorn.error", "uvicorn.access", "websockets.server", "anybody"])
def test_secrets_are_hidden_whoever_logs_them(name: str, log_format: LogFormat) -> None:
    """In messages, arguments, fields and exceptions, of our loggers and of libraries'."""
    log = Log(log_format)
    log.redactor.hide(SECRET)
    logger = logging.getLogger(name)
    try:
        raise StoreError(f"token={SECRET}x of eyJhbGciOiJIUzI1NiJ9.e30.x")
    except StoreError:
        logger.exception("GET %s", "/sync/c?token=other-1", extra={"reason": f"it was {SECRET}"})
    logger.error('%s - "WebSocket %s" [accepted]', "127.0.0.1", "/sync/c?token=other-1")
    logger.error("> %s: %s", "Authorization", "Bearer other-1")
    assert len(log.lines) == 3
    assert all(HIDDEN in line for line in log.lines)
    assert log.lines
    assert not any(word in log.stream.getvalue() for word in (SECRET, "other-1", "eyJ"))


def test_another_s_exception_is_told_by_its_kind_and_place() -> None:
    """Its text may quote a conversation; with its cause, and the parts of a group."""
    log = Log()
    error = ExceptionGroup(
        CONTENT, [raised(ValueError(CONTENT)), raised(OSError(28, "No space left", CONTENT))]
    )
    error.__cause__ = raised(KeyError(CONTENT))
    logging.getLogger("uvicorn.error").error("it failed", exc_info=raised(error))
    told = log.only()["exception"]
    assert CONTENT not in log.lines[0]
    for kind in ("ExceptionGroup", "ValueError", "OSError: No space left", "KeyError"):
        assert f"{kind} at " in told
    assert f"{__file__}:" in told


def test_our_exceptions_say_what_they_say() -> None:
    """No text of ours holds content, and the operator needs it."""
    log = Log()
    logging.getLogger("syncd").error("it failed", exc_info=raised(StoreError("the disk is full")))
    assert log.only()["exception"].startswith("StoreError: the disk is full at ")


def test_libraries_are_not_heard_below_warnings() -> None:
    """At ``debug`` we are, and websockets does not print its frames."""
    log = Log(level=LogLevel.DEBUG)
    for name in ("websockets.server", "uvicorn.error", "httpcore", "asyncio"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
        logging.getLogger(name).debug("< BINARY %s", CONTENT)
    logging.getLogger("syncd.client").debug("here")
    assert log.only()["message"] == "here"


def test_the_level_is_from_where_on() -> None:
    """What is below it is not written, of ours either."""
    log = Log(level=LogLevel.ERROR)
    logging.getLogger("syncd").warning("no")
    logging.getLogger("adapters").error("yes")
    assert log.only()["message"] == "yes"


def test_a_library_s_own_handler_is_taken_away() -> None:
    """What another has set up prints nothing beside us."""
    own, library = io.StringIO(), logging.getLogger("library.own")
    library.addHandler(logging.StreamHandler(own))
    library.propagate = False
    library.setLevel(logging.DEBUG)
    log = Log()
    library.debug("< TEXT %s", CONTENT)
    library.error("token=%s", SECRET)
    assert own.getvalue() == ""
    assert log.only()["message"] == f"token={HIDDEN}"


def test_the_web_server_s_lines_take_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Made later, it has no handler of its own, nor the one that logging keeps for who has none."""
    log = Log(level=LogLevel.DEBUG)
    Server(Starlette(), Limits())
    logging.getLogger("uvicorn.error").error("GET /?token=%s failed", SECRET)
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    logging.getLogger("uvicorn.access").error("GET /?token=%s", SECRET)
    told = [json.loads(line)["message"] for line in log.lines]
    assert told == [f"GET /?token={HIDDEN} failed", f"GET /?token={HIDDEN}"]
    assert capsys.readouterr().err == ""


def test_a_wrong_format_costs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A library's bad call is written as it stands, and its arguments are printed nowhere."""
    log = Log()
    logging.getLogger("library").error("%d things", f"token={SECRET}")
    assert log.only()["message"] == "%d things"
    log.stream.close()
    logging.getLogger("library").error("token=%s", SECRET)
    assert capsys.readouterr().err == ""


@pytest.mark.filterwarnings("always")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_warnings_and_threads_take_the_same_way() -> None:
    """What Python itself would print in lines of its own is one line of ours."""
    log = Log()
    warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert log.only()["logger"] == "py.warnings"
    thread = threading.Thread(target=[].pop)
    thread.start()
    thread.join()
    told = json.loads(log.lines[1])
    assert told["event"] == "thread_failed"
    assert told["exception"].startswith("IndexError at ")


def test_text_is_for_people() -> None:
    """One line: time, level, message, and the rest by name."""
    log = Log(LogFormat.TEXT)
    extra = event("connection_closed", connection="ab12", reason="the server ends", updates=3)
    logging.getLogger("syncd").info("a connection closed", extra=extra)
    told = log.lines[0].partition(" ")[2]
    assert told == 'info    a connection closed connection=ab12 reason="the server ends" updates=3'


def test_a_terminal_gets_text_and_a_pipe_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless somebody says otherwise."""
    stream = io.StringIO()
    assert default_format(stream) is LogFormat.JSON
    monkeypatch.setattr(stream, "isatty", lambda: True)
    assert default_format(stream) is LogFormat.TEXT
    assert sys.stderr is not stream


def test_every_field_has_one_name() -> None:
    """No field stands twice, or for something that logging itself puts on a record."""
    plain = logging.makeLogRecord({})
    assert len(set(FIELDS)) == len(FIELDS)
    assert [name for name in FIELDS if hasattr(plain, name)] == []
