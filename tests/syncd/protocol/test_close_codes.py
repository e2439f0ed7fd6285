"""Close codes in bands, and the document that lists them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from syncd.protocol import CloseCode, is_final
from syncd.protocol import frames as dialect

PROTOCOL = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()

FINAL = [(4400, True), (4401, True), (4404, True), (4499, True), (4399, False), (4500, False), (4599, False)]
STANDARD = [(1000, False), (1006, False), (1009, False), (1011, False), (1012, False), (1013, False)]


@pytest.mark.parametrize(("code", "expected"), FINAL + STANDARD)
def test_only_44xx_is_final(code: int, *, expected: bool) -> None:
    """Every other code means come back, as y-websocket 3.1 reads them."""
    assert is_final(code) is expected


def test_hocuspocus_timeout_is_not_among_ours() -> None:
    """4408 is transient there, and would stop a y-websocket client for good."""
    assert 4408 not in {int(code) for code in CloseCode}


def test_the_document_lists_the_codes_that_we_send() -> None:
    """All of them and no others, and which are final."""
    rows = re.findall(r"^\| `(\d{4})` \| (final|come back) \|", PROTOCOL, re.MULTILINE)
    assert {(int(code), word) for code, word in rows} == {
        (int(code), "final" if is_final(code) else "come back") for code in CloseCode
    }


def test_the_document_s_frames_are_what_they_are_called() -> None:
    """Every example of a frame decodes to the message of its row."""
    rows = re.findall(r"^\| `(\w+)` \| `([0-9a-f ]+)` \|", PROTOCOL, re.MULTILINE)
    assert len(rows) == 6
    for name, encoded in rows:
        assert type(dialect.decode_frame(bytes.fromhex(encoded))).__name__ == name
