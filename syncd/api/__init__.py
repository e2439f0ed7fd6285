"""
JSON over HTTP: conversations, messages, runs, blobs and search, live as server-sent events.

``routes`` is mounted in an application whose ``state`` has the ``hub`` and the ``gate``;
``end_streams`` lets a server end that still streams events.
"""

from syncd.api.problems import http_exception
from syncd.api.routes import routes
from syncd.api.streams import end_streams

__all__ = ["end_streams", "http_exception", "routes"]
