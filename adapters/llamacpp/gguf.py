"""
What a GGUF file says about its model: the few values that decide how its state may be used.

Only the header is read: magic, version, counts, then pairs of a key and a typed value
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). The ``gguf`` package does
more, and brings numpy along for it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Final

Scalar = int | float | str

_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_STRING = 2**24
_RECURRENT = re.compile(r"\.(ssm|wkv|shortconv|rwkv)\b|\.full_attention_interval$|\.token_shift_count$")
_RECURRENT_ARCHITECTURES = re.compile(r"^(rwkv|arwkv|mamba|jamba|falcon-h1|plamo2|granitehybrid|nemotron_h)")


def is_branchable(path: Path) -> bool:
    """
    Whether a state of the model can be cut back to any earlier token.

    With a sliding window or recurrence it can't: it goes on where it was saved, or nowhere.
    A file whose header can't be read is taken for such a model.
    """
    try:
        with path.open("rb") as file:
            return not any(_holds_back(key, value) for key, value in _pairs(file))
    except (OSError, ValueError, struct.error):
        return False


def _holds_back(key: str, value: Scalar | None) -> bool:
    if key == "general.architecture" and isinstance(value, str):
        return _RECURRENT_ARCHITECTURES.match(value) is not None
    if key.endswith(".attention.sliding_window"):
        return value != 0
    return _RECURRENT.search(key) is not None


def _pairs(file: BufferedReader) -> Iterator[tuple[str, Scalar | None]]:
    """Yield keys and values; nothing stands for an array."""
    if file.read(4) != b"GGUF":
        raise ValueError("no GGUF file")
    version, _tensors, count = struct.unpack("<IQQ", _exactly(file, 20))
    if version < 2:
        raise ValueError(f"GGUF version {version} is not read")
    for _ in range(count):
        key = _string(file)
        yield key, _value(file, _unpack(file, "I"))


def _value(file: BufferedReader, kind: int) -> Scalar | None:
    if kind == _STRING:
        return _string(file)
    if kind != _ARRAY:
        return _unpack(file, _SCALARS.get(kind, ""))
    item, count = _unpack(file, "I"), _unpack(file, "Q")
    if item in (_STRING, _ARRAY):
        for _ in range(count):
            _value(file, item)
    else:
        file.seek(struct.calcsize(_SCALARS.get(item, "")) * count, 1)
    return None


def _unpack(file: BufferedReader, code: str) -> int:
    if not code:
        raise ValueError("a value of an unknown type")
    (value,) = struct.unpack(f"<{code}", _exactly(file, struct.calcsize(f"<{code}")))
    return value  # type: ignore[no-any-return] # struct's values have no type; a float is compared, never counted with


def _string(file: BufferedReader) -> str:
    length = _unpack(file, "Q")
    if length > _MAX_STRING:
        raise ValueError("a text that is no text")
    return _exactly(file, length).decode("utf-8", "replace")


def _exactly(file: BufferedReader, length: int) -> bytes:
    found = file.read(length)
    if len(found) != length:
        raise ValueError("the file ends within its header")
    return found
