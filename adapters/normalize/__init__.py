"""
The one normalization between a merged log and every adapter.

What is done here is the same for the same log every time, and a log that goes on
changes nothing of what was answered before, so that prefixes of requests stay equal.
Every change is told in words.
"""

from adapters.normalize.media import not_sent
from adapters.normalize.normalizer import Normalizer, normalize
from adapters.normalize.offer import with_offered
from adapters.normalize.progress import Head, Progress, Writer
from adapters.normalize.turns import Block, Result, Turn, Turns, joined

__all__ = [
    "Block",
    "Head",
    "Normalizer",
    "Progress",
    "Result",
    "Turn",
    "Turns",
    "Writer",
    "joined",
    "normalize",
    "not_sent",
    "with_offered",
]
