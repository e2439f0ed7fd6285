"""
Errors of the protocol, split as h11 splits them: by whose fault it is.

::

    ProtocolError
    ├── LocalProtocolError      we broke it: mend the program
    └── RemoteProtocolError     they broke it: close the connection
        └── MalformedFrame      bytes that are no frame

Text is for people and for close reasons; it never holds what a frame held.
"""

from __future__ import annotations


class ProtocolError(Exception):
    """Base of the two."""


class LocalProtocolError(ProtocolError):
    """This program asked for a frame that can't be."""


class RemoteProtocolError(ProtocolError):
    """The other end sent what the protocol does not allow."""


class MalformedFrame(RemoteProtocolError):
    """Bytes that are no frame of the dialect."""
