"""
The primitives of lib0 that frames are made of.

``varUint`` is LEB128: 7 bits a byte, least significant first, up to 53 bits,
since JavaScript counts no further. Bytes and UTF-8 strings carry their length in
bytes before them. (pycrdt's own encoder writes a string's length in characters.)

A value has one encoding. lib0 would also read a number that is padded with zero
bits, but never writes one; here it is refused, so what was decoded and is encoded
again is the same bytes.
"""

from __future__ import annotations

from syncd.protocol.errors import LocalProtocolError, MalformedFrame

MAX_VAR_UINT = 2**53 - 1


def encode_var_uint(number: int) -> bytes:
    """
    Encode a number from 0 to 2**53 - 1.

    Raises:
        LocalProtocolError: It is out of range.
    """
    if not 0 <= number <= MAX_VAR_UINT:
        raise LocalProtocolError(f"{number} is no varUint")
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(0x80 | number & 0x7F)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def encode_var_bytes(data: bytes, head: bytes = b"") -> bytes:
    """
    Encode bytes behind their length.

    Args:
        data: The bytes.
        head: What stands before all of it; given here, ``data`` is copied once.
    """
    return b"".join((head, encode_var_uint(len(data)), data))


def encode_var_string(text: str, head: bytes = b"") -> bytes:
    """
    Encode a string as UTF-8 behind its length in bytes.

    Raises:
        LocalProtocolError: It holds half of a surrogate pair, which UTF-8 can't.
    """
    try:
        return encode_var_bytes(text.encode(), head)
    except UnicodeEncodeError as error:
        raise LocalProtocolError("a string is no Unicode text") from error


def last_var_bytes(data: bytes, at: int) -> bytes | None:
    """
    Return what ``read_var_bytes`` reads at a place, if it ends the data and is short; else nothing.

    For the one frame in a hundred that is another, there is ``Reader``, which takes several times as long.
    """
    if len(data) < at + 2:
        return None
    length, at = data[at], at + 1
    if length >= 0x80:
        high, at = data[at], at + 1
        if not 0 < high < 0x80:
            return None
        length = length & 0x7F | high << 7
    return data[at:] if len(data) - at == length else None


class Reader:
    """Reads primitives one after another; everything that can't be read raises ``MalformedFrame``."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        """Whether everything was read."""
        return self._at >= len(self._data)

    def read_var_uint(self) -> int:
        """
        Read a number.

        Raises:
            MalformedFrame: It is cut off, padded, or larger than 53 bits.
        """
        number = shift = 0
        while True:
            if self._at >= len(self._data):
                raise MalformedFrame("a number is cut off")
            byte = self._data[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            if number > MAX_VAR_UINT or shift > 49:
                raise MalformedFrame("a number is larger than 53 bits")
            if byte < 0x80:
                break
            shift += 7
        if shift and not byte:
            raise MalformedFrame("a number is longer than it needs to be")
        return number

    def read_var_bytes(self) -> bytes:
        """
        Read bytes behind their length.

        Raises:
            MalformedFrame: They are cut off.
        """
        length = self.read_var_uint()
        if length > len(self._data) - self._at:
            raise MalformedFrame("bytes are cut off")
        return self._take(length)

    def read_var_string(self) -> str:
        """
        Read a string.

        Raises:
            MalformedFrame: It is cut off, or no UTF-8.
        """
        try:
            return self.read_var_bytes().decode()
        except UnicodeDecodeError:
            raise MalformedFrame("a string is no UTF-8") from None

    def read_rest(self) -> bytes:
        """Read whatever is left."""
        return self._take(len(self._data) - self._at)

    def _take(self, length: int) -> bytes:
        taken = self._data[self._at : self._at + length]
        self._at += length
        return taken
