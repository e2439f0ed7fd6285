"""
Errors of the protocol, split as h11 splits them.

::

    ProtocolError
    ├── LocalProtocolError      we broke it: mend the program
    └── RemoteProtocolError     they broke it: close the connection
        └── MalformedFrame      bytes that are no frame
"""

from __future__ import annotations


class ProtocolError(Exception):
    """Base of the two."""


class LocalProtocolError(ProtocolError):
    """This program called a session out of turn."""


class RemoteProtocolError(ProtocolError):
    """The other end sent what the protocol does not allow."""


class MalformedFrame(RemoteProtocolError):
    """Bytes that are no frame of the dialect."""
