"""A reader of the log who stalls holds nobody up; what nobody could read is counted, and told."""

from __future__ import annotations

import io
import logging
import threading

import pytest

from syncd.logs import writer as log_writer
from syncd.logs.writer import QueuedHandler


class Stalled(io.StringIO):
    """A stream whose writes wait until it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read = threading.Event()

    def write(self, text: str) -> int:
        assert self.is_read.wait(20)
        return super().write(text)


def record(text: str) -> logging.LogRecord:
    """Return a line to be."""
    return logging.LogRecord("syncd", logging.INFO, "", 0, text, (), None)


def handler_of(stream: io.StringIO) -> QueuedHandler:
    """Return a handler that writes to a stream."""
    return QueuedHandler(stream, lambda count: record(f"{count} dropped"))


def test_lines_are_written_in_order() -> None:
    """All of them, and flush waits for that."""
    stream = io.StringIO()
    handler = handler_of(stream)
    for number in range(1000):
        handler.emit(record(str(number)))
    handler.flush()
    assert stream.getvalue().split() == [str(number) for number in range(1000)]


def test_a_reader_that_stalls_costs_lines_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs goes on at once; the first line that fits again says how many are missing."""
    monkeypatch.setattr(log_writer, "WAITING", 10)
    monkeypatch.setattr(log_writer, "FLUSH_S", 0.01)
    stream = Stalled()
    handler = handler_of(stream)
    for number in range(100):
        handler.emit(record(f"line {number}"))
    # Nor does the end of the process wait for ever.
    handler.flush()
    assert stream.getvalue() == ""
    stream.is_read.set()
    monkeypatch.setattr(log_writer, "FLUSH_S", 20)
    handler.flush()
    handler.emit(record("after"))
    handler.flush()
    *written, told, last = stream.getvalue().splitlines()
    # Ten waited, and one may have been on its way.
    assert len(written) in {10, 11}
    assert (told, last) == (f"{100 - len(written)} dropped", "after")


def test_a_stream_that_is_gone_is_no_error() -> None:
    """A closed stream loses lines, and nothing else."""
    stream = io.StringIO()
    handler = handler_of(stream)
    stream.close()
    handler.emit(record("lost"))
    handler.flush()
