"""
What goes between the log and a provider: requests, reports, operations, and the port of an adapter.

An adapter is two pure functions around one call, so that everything but the
call is tested with no network.
"""

from adapters.exchange.operations import (
    Annotated,
    Begun,
    Finished,
    Grown,
    MediaDelta,
    Operation,
    ReasoningDelta,
    Sealed,
    TextDelta,
)
from adapters.exchange.port import Adapter, Continues, Forgets, Hidden, Ingest, Resumes, refused_key
from adapters.exchange.request import Json, Note, Report, Reported, Request, SentField, encode_json
from adapters.exchange.tools import Tool, read_tools
from adapters.exchange.usage import STOP_REASONS, Usage

__all__ = [
    "STOP_REASONS",
    "Adapter",
    "Annotated",
    "Begun",
    "Continues",
    "Finished",
    "Forgets",
    "Grown",
    "Hidden",
    "Ingest",
    "Json",
    "MediaDelta",
    "Note",
    "Operation",
    "ReasoningDelta",
    "Report",
    "Reported",
    "Request",
    "Resumes",
    "Sealed",
    "SentField",
    "TextDelta",
    "Tool",
    "Usage",
    "encode_json",
    "read_tools",
    "refused_key",
]
