"""
The daemon's log: one event a line on standard error, as text for people or as JSON for programs.

Rules. A line says what happened and to whom, never what a conversation says, and no token. What is
not in ``FIELDS`` is not written, whatever was given as ``extra``. Of an exception its kind and its
place are written; its text only where the error is ours, since others quote what they stumbled over.
Libraries are heard from ``WARNING`` on, whatever the level: below it, websockets prints frames.

All of that is done where a record becomes text, and not by a filter on the way: there a traceback is
not text yet, and what a filter changes is changed for every handler.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TextIO

from crdt_conv import CrdtConvError
from syncd.errors import SyncdError
from syncd.logs.redaction import Redactor
from syncd.logs.writer import QueuedHandler

FIELDS: Final = (
    "conversation",
    "connection",
    "dialect",
    "sub",
    "client",
    "url",
    "code",
    "status",
    "reason",
    "updates",
    "bytes",
    "documents",
    "refused",
    "denied",
    "merged",
    "throttled",
    "omitted",
    "seconds",
)
"""What a line may hold besides time, level, logger, event, message and exception, in this order."""
OURS: Final = ("adapters", "crdt_conv", "syncd")
"""The loggers that ``--log-level`` is for."""
MAX_TEXT: Final = 2000
"""A longer text, in characters, is cut: a stranger chooses what a conversation is called."""
MAX_FRAMES: Final = 20
"""So many of the innermost calls of a traceback are written."""

logger = logging.getLogger("syncd")


class LogFormat(StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """From where on something is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def default_format(stream: TextIO) -> LogFormat:
    """Return text for a terminal, and JSON for whoever else reads: journald, a file, a collector."""
    return LogFormat.TEXT if stream.isatty() else LogFormat.JSON


def start_logging(log_format: LogFormat | None, level: LogLevel, stream: TextIO | None = None) -> Redactor:
    """
    Have everything that this process logs written in one form.

    Args:
        log_format: The form; by default what suits the stream.
        level: For our own loggers.
        stream: Where to; by default standard error.

    Returns:
        What hides secrets: whoever learns one tells it.
    """
    stream = stream or sys.stderr
    redactor = Redactor()
    is_json = (log_format or default_format(stream)) is LogFormat.JSON
    handler = QueuedHandler(stream, _dropped)
    handler.setFormatter((JsonFormatter if is_json else TextFormatter)(redactor))
    _take_over(handler)
    # Nobody is told of these, and finding them out is a part of a line's cost.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())
    logging.captureWarnings(capture=True)
    threading.excepthook = _log_thread
    return redactor


def _take_over(handler: logging.Handler) -> None:
    """Leave no other way out: a library that set up a handler of its own would print what it likes."""
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # For loggers without any handler that pass nothing on, as uvicorn leaves that of accesses.
    logging.lastResort = handler
    root.setLevel(logging.WARNING)
    for name in tuple(root.manager.loggerDict):
        other = logging.getLogger(name)
        other.handlers.clear()
        other.setLevel(logging.NOTSET)
        other.propagate = True


def fields_of(record: logging.LogRecord, redact: Redactor) -> dict[str, Any]:
    """Return what a record says, in order: JSON values, without secrets, each of bounded length."""
    given = vars(record)
    fields: dict[str, Any] = {
        "time": _time(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": given.get("event"),
        "message": _message(record),
        **{name: given[name] for name in FIELDS if name in given},
    }
    if record.exc_info and record.exc_info[1] is not None:
        fields["exception"] = "; ".join(_traced(record.exc_info[1]))
    plain = {name: _plain(value) for name, value in fields.items() if value not in (None, "")}
    # Once for all of them: looking for secrets in each would cost more than the rest of a line.
    joined = "\0".join(value for value in plain.values() if isinstance(value, str))
    if len(joined) <= MAX_TEXT and not redact.may_change(joined):
        return plain
    return {name: _safe(value, redact) for name, value in plain.items()}


def _time(created_s: float) -> str:
    return f"{datetime.fromtimestamp(created_s, UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a library's wrong format must not cost the line, nor the process
        return str(record.msg)


def _plain(value: object) -> str | float:
    if isinstance(value, float):
        return round(value, 3)
    return value if isinstance(value, str | int) else str(value)


def _safe(value: str | float, redact: Redactor) -> str | float:
    if not isinstance(value, str):
        return value
    # First hidden, then cut: half a secret is not known by heart.
    text = redact(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def _traced(error: BaseException) -> Iterator[str]:
    """Yield an exception and those behind it: what, and where from."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        said = _says(each)
        where = ", ".join(_places(each))
        yield f"{type(each).__name__}{f': {said}' if said else ''}{f' at {where}' if where else ''}"
        waiting.append(each.__cause__ or (None if each.__suppress_context__ else each.__context__))
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(reversed(each.exceptions))


def _says(error: BaseException) -> str:
    if isinstance(error, CrdtConvError | SyncdError):
        return str(error)
    return error.strerror or "" if isinstance(error, OSError) else ""


def _places(error: BaseException) -> Iterator[str]:
    """Yield where an exception came by, innermost first."""
    frames = list(traceback.walk_tb(error.__traceback__))
    for frame, line in reversed(frames[-MAX_FRAMES:]):
        yield f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return json.dumps(fields_of(record, self._redact))


class TextFormatter(logging.Formatter):
    """One line for people: time, level, message, and the rest as ``name=value``."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = fields_of(record, self._redact)
        head = [fields.pop("time"), f"{fields.pop('level'):<7}", _one_line(fields.pop("message", ""))]
        del fields["logger"]
        fields.pop("event", None)
        return " ".join([*head, *(f"{name}={_quoted(value)}" for name, value in fields.items())])


def _one_line(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _quoted(value: object) -> str:
    text = str(value)
    is_plain = text.isprintable() and not any(mark in text for mark in ' "=')
    return text if is_plain else json.dumps(text)


def _dropped(count: int) -> logging.LogRecord:
    """Return the record that says that nobody read fast enough."""
    record = logging.LogRecord("syncd", logging.WARNING, "", 0, "lines were dropped: read faster", (), None)
    vars(record).update(event("log_dropped", omitted=count))
    return record


def _log_thread(told: threading.ExceptHookArgs) -> None:
    error = told.exc_value
    if error is not None and not isinstance(error, SystemExit):
        trace: Any = (told.exc_type, error, told.exc_traceback)
        logger.error("a thread failed", exc_info=trace, extra={"event": "thread_failed"})


def event(name: str, **fields: object) -> dict[str, object]:
    """Return a line's ``extra``; what is not in ``FIELDS`` is a fault of ours."""
    assert fields.keys() <= set(FIELDS)
    return {"event": name, **fields}
