"""What never stands in a log: secrets, in every form in which libraries print them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.logs.redaction import HIDDEN, MIN_SECRET, Redactor

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl-_"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /sync/c?token=s3cret HTTP/1.1", f"GET /sync/c?token={HIDDEN} HTTP/1.1"),
        ("/sync/c?x=1&token=s3cret&y=2", f"/sync/c?x=1&token={HIDDEN}&y=2"),
        ("/sync/c?TOKEN=a%2Fb%20c", f"/sync/c?TOKEN={HIDDEN}"),
        ("next=%2Fsync%3Ftoken%3Ds3cret", f"next=%2Fsync%3Ftoken%3D{HIDDEN}"),
        ("access_token=s3cret", f"access_token={HIDDEN}"),
        ('{"token": "s3cret", "n": 1}', f'{{"token": "{HIDDEN}", "n": 1}}'),
        ("{'token': 's3 cret'}", f"{{'token': '{HIDDEN}'}}"),
        (r"{\"token\": \"s3cret\"}", rf"{{\"token\": \"{HIDDEN}\"}}"),
        ("< Authorization: Bearer s3cret", f"< Authorization: Bearer {HIDDEN}"),
        ("(b'authorization', b'Bearer s3cret')", f"(b'authorization', b'Bearer {HIDDEN}')"),
        ("{'Authorization': 'bearer  s3cret'}", f"{{'Authorization': 'bearer {HIDDEN}'}}"),
        ("Authorization: Basic czNjcmV0", f"Authorization: Basic {HIDDEN}"),
        ("authorization: s3cret", f"authorization: {HIDDEN}"),
        ("(b'cookie', b'user=ann; s=s3cret')", f"(b'cookie', b'{HIDDEN}')"),
        ("Set-Cookie: s=s3cret; Path=/\nnext", f"Set-Cookie: {HIDDEN}\nnext"),
        (f"the token {JWT} is old", f"the token {HIDDEN} is old"),
        (f"cut off: {JWT[:14]}", f"cut off: {HIDDEN}"),
        (JWT.replace(".", "%2E"), HIDDEN),
        ("http://ann:s3cret@host/x", f"http://{HIDDEN}@host/x"),
    ],
)
def test_a_secret_is_known_by_its_form(text: str, expected: str) -> None:
    """Of each form the secret goes, and what stands around it stays."""
    assert Redactor()(text) == expected
    assert Redactor().may_change(text)


@pytest.mark.parametrize(
    "text",
    [
        "a valid token is needed",
        "the token is no good (DecodeError)",
        "http://127.0.0.1:7878",
        "the server can't store updates now: come back",
        "not a Yjs update",
        "01J9ZC3V6W1QX5Q3M6H2T8K4EY",
        "/home/ann/chats.db.token can't be read",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """The daemon's own reasons can be read."""
    assert Redactor()(text) == text


@given(
    st.text(max_size=20),
    st.text(st.characters(categories=["L", "N"]), min_size=MIN_SECRET),
    st.text(max_size=20),
)
def test_a_secret_known_by_heart_stands_nowhere(before: str, secret: str, after: str) -> None:
    """Whatever stands around it, and whatever it looks like."""
    redact = Redactor()
    redact.hide(secret)
    assert secret not in redact(before + secret + after).replace(HIDDEN, "")
    assert redact.may_change(before + secret + after)


@given(st.text() | st.sampled_from(["monkey", "x//y", "a cookie"]))
def test_what_may_not_change_does_not(text: str) -> None:
    """Where the cheap look finds nothing, the thorough one would not, either."""
    redact = Redactor()
    assert redact.may_change(text) or redact(text) == text


def test_a_secret_known_by_heart_is_known_in_a_url() -> None:
    """Quoted it is still a secret; a short one is not looked for."""
    redact = Redactor()
    redact.hide("let me in")
    redact.hide("a")
    assert redact("/sync/let%20me%20in as a whole") == f"/sync/{HIDDEN} as a whole"


@pytest.mark.parametrize(
    "word", ["token", "token=", "eyJ", "eyJ.", "bearer ", "+ ", "cookie:", "//", "//a:", "'"]
)
@pytest.mark.timeout(20)
def test_no_text_takes_long(word: str) -> None:
    """A stranger's line costs time in proportion to its length: this takes minutes where it is its square."""
    Redactor()(word * 200_000)
