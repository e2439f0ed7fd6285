"""Numbers, bytes and strings of lib0."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.protocol import LocalProtocolError, MalformedFrame
from syncd.protocol.lib0 import MAX_VAR_UINT, Reader, encode_var_bytes, encode_var_string, encode_var_uint

# As lib0's own encoder writes them.
NUMBERS = [
    (0, "00"),
    (1, "01"),
    (127, "7f"),
    (128, "80 01"),
    (300, "ac 02"),
    (16384, "80 80 01"),
    (2**32, "80 80 80 80 10"),
    (6452779344427451, "bb f3 8d a5 cc 98 bb 0b"),
    (2**53 - 1, "ff ff ff ff ff ff ff 0f"),
]
STRINGS = [("", "00"), ("conv-1", "06 636f6e762d31"), ("é漢", "05 c3a9 e6bca2"), ("😀", "04 f09f9880")]


@pytest.mark.parametrize(("number", "encoded"), NUMBERS)
def test_numbers_are_leb128(number: int, encoded: str) -> None:
    """Both ways, up to the 53 bits of a pycrdt client id."""
    assert encode_var_uint(number).hex() == encoded.replace(" ", "")
    assert Reader(bytes.fromhex(encoded)).read_var_uint() == number


@pytest.mark.parametrize(("text", "encoded"), STRINGS)
def test_a_string_s_length_is_in_bytes(text: str, encoded: str) -> None:
    """Not in characters, nor in UTF-16 units."""
    assert encode_var_string(text).hex() == encoded.replace(" ", "")
    assert Reader(bytes.fromhex(encoded)).read_var_string() == text


@pytest.mark.parametrize(
    "encoded", ["", "80", "ff ff", "80 00", "ff 80 00", "80 80 80 80 80 80 80 10", "ff" * 9]
)
def test_what_is_no_number_is_refused(encoded: str) -> None:
    """Cut off, padded, or over 53 bits."""
    with pytest.raises(MalformedFrame):
        Reader(bytes.fromhex(encoded)).read_var_uint()


def test_an_endless_number_costs_nothing() -> None:
    """It is given up after the bytes that 53 bits take, however many follow."""
    reader = Reader(b"\x80" * 1000)
    with pytest.raises(MalformedFrame):
        reader.read_var_uint()
    assert len(reader.read_rest()) >= 990


@pytest.mark.parametrize("encoded", ["", "01", "03 6162", "81 00 61", "ff ff ff ff ff ff ff 0f"])
def test_what_is_cut_off_is_refused(encoded: str) -> None:
    """A length that promises more than there is, however much, costs nothing."""
    with pytest.raises(MalformedFrame):
        Reader(bytes.fromhex(encoded)).read_var_bytes()


@pytest.mark.parametrize("encoded", ["01 ff", "02 c3 28", "03 ed a0 80"])
def test_what_is_no_utf_8_is_refused(encoded: str) -> None:
    """A stray byte, a broken sequence, half of a surrogate pair."""
    with pytest.raises(MalformedFrame):
        Reader(bytes.fromhex(encoded)).read_var_string()


@pytest.mark.parametrize("number", [-1, 2**53])
def test_a_number_out_of_range_is_our_own_fault(number: int) -> None:
    """JavaScript would read another one."""
    with pytest.raises(LocalProtocolError):
        encode_var_uint(number)


def test_half_a_surrogate_pair_is_our_own_fault() -> None:
    """No other exception gets out."""
    with pytest.raises(LocalProtocolError):
        encode_var_string("\ud800")


@given(st.integers(0, MAX_VAR_UINT), st.binary(max_size=300), st.text(max_size=200), st.binary(max_size=5))
def test_what_was_written_is_read(number: int, data: bytes, text: str, rest: bytes) -> None:
    """One after another, to the end and no further."""
    reader = Reader(encode_var_uint(number) + encode_var_bytes(data) + encode_var_string(text) + rest)
    assert (reader.read_var_uint(), reader.read_var_bytes(), reader.read_var_string()) == (number, data, text)
    assert reader.is_at_end is (rest == b"")
    assert reader.read_rest() == rest
    assert reader.is_at_end


@given(st.binary(max_size=12))
def test_noise_is_one_encoding_or_refused(data: bytes) -> None:
    """A value has one encoding: what can be read is written as the same bytes."""
    reader = Reader(data)
    try:
        number = reader.read_var_uint()
    except MalformedFrame:
        return
    assert encode_var_uint(number) + reader.read_rest() == data
