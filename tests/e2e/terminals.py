"""``conv`` at a real terminal: a PTY, what is typed into it, and what stands on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.programs import end, environment

# The child takes the terminal for its own, so that Ctrl-C becomes a signal.
PROGRAM = (
    "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from syncd.cli.{0} import main; main()"
)
SEQUENCE = re.compile(r"\x1b\[[0-9;?>=]*[a-zA-Z]|\x1b\][^\x07]*\x07|\x1b[=>78]|\r|\x07")
CTRL_C, CTRL_D, ALT_ENTER, TAB, UP = "\x03", "\x04", "\x1b\r", "\t", "\x1b[A"


class Terminal:
    """A program at a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self.seen = ""
        self._at = 0

    def type(self, text: str) -> None:
        """Type something, as it stands."""
        os.write(self._descriptor, text.encode())

    def enter(self, text: str) -> None:
        """Type a line."""
        self.type(f"{text}\r")

    def expect(self, text: str, timeout_s: float = 25) -> str:
        """Wait until a text appears behind what was expected last; returns what came before it."""
        deadline = time.monotonic() + timeout_s
        while text not in self.seen[self._at :]:
            ready, _, _ = select.select([self._descriptor], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no {text!r} in {timeout_s} s, only {self.seen[self._at :]!r}"
            assert self._read(), f"no {text!r} before the end, only {self.seen[self._at :]!r}"
        before, _, _ = self.seen[self._at :].partition(text)
        self._at += len(before) + len(text)
        return before

    def _read(self) -> bool:
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:
            return False
        self.seen += SEQUENCE.sub("", data.decode(errors="replace"))
        return bool(data)

    def ended(self, timeout_s: float = 25) -> int:
        """Read to the end, and return the exit code."""
        deadline = time.monotonic() + timeout_s
        while select.select([self._descriptor], [], [], max(0, deadline - time.monotonic()))[0]:
            if not self._read():
                break
        return self.process.wait(30)


@contextmanager
def terminal(
    db: Path,
    *arguments: str,
    program: str = "conv",
    stderr: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Terminal]:
    """Run a program at a terminal of 40 lines; ``stderr``: a file for it, which is no terminal then."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    command = [sys.executable, "-c", PROGRAM.format(program), *arguments, "--db", str(db)]
    given = {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "CONV_HISTORY": f"{db}.history"}
    with (stderr or Path(os.devnull)).open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=file if stderr else theirs,
            env=environment({**given, **(environ or {})}),
            start_new_session=True,
        )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        end(process)
        os.close(ours)
