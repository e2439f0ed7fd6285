"""
What writes log lines: a thread of its own, so that a reader who stalls holds nobody up.

Lines wait in a queue with a bound. Beyond it they are dropped and counted, and the next line that is written
says how many. At the end of the process what waits is written, for as long as ``FLUSH_S``.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO

WAITING: Final = 10_000
"""So many lines may wait."""
FLUSH_S: Final = 2.0
"""So long is waited for a reader at the end."""


class QueuedHandler(logging.Handler):
    """A handler that never waits, and never complains: the complaint would quote the record as it is."""

    def __init__(self, stream: TextIO, dropped: Callable[[int], logging.LogRecord]) -> None:
        """
        Write to a stream from now on.

        Args:
            stream: Where to.
            dropped: Makes the record that says how many lines were dropped.
        """
        super().__init__()
        self._stream = stream
        self._make_dropped = dropped
        self._lines: queue.Queue[str] = queue.Queue(WAITING)
        self._dropped = 0
        self._is_idle = threading.Condition()
        self._unwritten = 0
        threading.Thread(target=self._write, name="syncd log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have a line written, or count it."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a line that can't be made must not end the program
            return
        with self._is_idle:
            if self._dropped and not self._lines.full():
                line = f"{self.format(self._make_dropped(self._dropped))}\n{line}"
                self._dropped = 0
            try:
                self._lines.put_nowait(line)
                self._unwritten += 1
            except queue.Full:
                self._dropped += 1

    def flush(self) -> None:
        """Wait until all is written, or for a while."""
        with self._is_idle:
            self._is_idle.wait_for(lambda: not self._unwritten, FLUSH_S)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            # There is nowhere else to say that it can't be written.
            with suppress(OSError, ValueError):
                self._stream.write(f"{line}\n")
                if self._lines.empty():
                    self._stream.flush()
            with self._is_idle:
                self._unwritten -= 1
                self._is_idle.notify_all()
