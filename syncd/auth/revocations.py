"""What is no good any more before its time: single tokens, and all that somebody had until some moment."""

from __future__ import annotations

import json
from pathlib import Path

from syncd.auth.keys import write_private
from syncd.errors import StartError


def revocations_file(store: Path) -> Path:
    """Return where a store's daemon keeps what was revoked."""
    return store.with_name(f"{store.name}.revoked")


class Revocations:
    """A file of revocations, read again when it changes."""

    def __init__(self, file: Path) -> None:
        """
        Read a file, which may not be there.

        Raises:
            StartError: It can't be read.
        """
        self._file = file
        self._stamp: tuple[int, int] | None = None
        self._tokens: dict[str, float] = {}
        self._subjects: dict[str, float] = {}
        self.poll()

    def poll(self) -> bool:
        """
        Read the file again if it changed; returns whether it did.

        Raises:
            StartError: It can't be read.
        """
        stamp = self._stat()
        if stamp == self._stamp:
            return False
        try:
            told = json.loads(self._file.read_bytes()) if stamp is not None else {}
            self._tokens = {str(jti): float(at) for jti, at in told.get("tokens", {}).items()}
            self._subjects = {str(sub): float(at) for sub, at in told.get("subjects", {}).items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise StartError(f"{self._file} can't be read: mend it, or nobody revoked stays out") from error
        self._stamp = stamp
        return True

    def _stat(self) -> tuple[int, int] | None:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino

    def revoke_token(self, jti: str, now_s: float) -> None:
        """Make one token no good."""
        self.poll()
        self._tokens[jti] = now_s
        self._write()

    def revoke_subject(self, subject: str, now_s: float) -> None:
        """Make everything no good that somebody was given until now."""
        self.poll()
        self._subjects[subject] = now_s
        self._write()

    def _write(self) -> None:
        write_private(
            self._file, json.dumps({"tokens": self._tokens, "subjects": self._subjects}, indent=1) + "\n"
        )
        self._stamp = self._stat()

    def is_revoked(self, subject: str, jti: str | None, issued_s: float | None) -> bool:
        """Whether a token is no good any more; one that does not say when it was made counts as old."""
        if jti is not None and jti in self._tokens:
            return True
        revoked_s = self._subjects.get(subject)
        return revoked_s is not None and (issued_s is None or issued_s <= revoked_s)
