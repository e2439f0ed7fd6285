"""Which hidden fields may be sent, and why others may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crdt_conv import Destination, HiddenField, Message, MessageId, validity
from crdt_conv.messages.message import Part
from tests.crdt_conv.messages.test_hidden import FIELD

TO = Destination("space", "https://a", "model")
MESSAGE = Message(MessageId("m"), "assistant", (), parts=(Part("p1", "text", {"text": "x"}),))
EMPTIED = replace(MESSAGE, status="redacted", parts=())
SERVER = replace(FIELD, binding="server", endpoint="https://a")
PREFIX = replace(FIELD, binding="prefix", prefix="abc")

SENT: dict[str, HiddenField] = {
    "self": FIELD,
    "self, of a part": replace(FIELD, at="p1"),
    "self, from another endpoint": replace(FIELD, endpoint="https://b"),
    "self, of another model": replace(FIELD, model="other"),
    "self, in JSON": replace(FIELD, data={}),
    "self, without words": replace(FIELD, data=b""),
    "self, in time": replace(FIELD, expires=101),
    "server": SERVER,
    "prefix": PREFIX,
    "prefix, from another endpoint": replace(PREFIX, endpoint="https://b"),
}
NOT_SENT: dict[str, tuple[HiddenField, Message, str]] = {
    "redacted": (FIELD, EMPTIED, "its message was redacted"),
    "a blob elsewhere": (replace(FIELD, data=None, blob="ab"), MESSAGE, "its data is not here"),
    "a binding of later": (replace(FIELD, binding="moon"), MESSAGE, "its binding 'moon' is unknown"),
    "expired": (replace(FIELD, expires=99), MESSAGE, "it has expired"),
    "expired just now": (replace(FIELD, expires=100), MESSAGE, "it has expired"),
    "expired in the beginning": (replace(FIELD, expires=0), MESSAGE, "it has expired"),
    "another space": (replace(FIELD, space="moon"), MESSAGE, "moon sealed it, space can't read it"),
    "no space": (replace(FIELD, space=""), MESSAGE, "nobody sealed it, space can't read it"),
    "a part that is gone": (replace(FIELD, at="p2"), MESSAGE, "the part it belongs to is gone"),
    "another endpoint": (
        replace(SERVER, endpoint="https://b"),
        MESSAGE,
        "it names state of another endpoint",
    ),
    "no endpoint": (replace(SERVER, endpoint=None), MESSAGE, "it names state of another endpoint"),
    "another prefix": (
        replace(PREFIX, prefix="abd"),
        MESSAGE,
        "the conversation before it is not the one it was made from",
    ),
    "no prefix": (
        replace(PREFIX, prefix=None),
        MESSAGE,
        "the conversation before it is not the one it was made from",
    ),
}


@pytest.mark.parametrize("field", SENT.values(), ids=SENT.keys())
def test_this_may_be_sent(field: HiddenField) -> None:
    """What is sealed goes anywhere in its space, state to its endpoint, the rest behind its prefix."""
    assert validity(field, MESSAGE, TO, prefix="abc", now_ms=100) == (True, "")


@pytest.mark.parametrize(("field", "message", "reason"), NOT_SENT.values(), ids=NOT_SENT.keys())
def test_this_may_not_be_sent(field: HiddenField, message: Message, reason: str) -> None:
    """What would be refused is left out, with a reason for people."""
    valid = validity(field, message, TO, prefix="abc", now_ms=100)
    assert (valid, bool(valid)) == ((False, reason), False)


def test_behind_no_prefix_nothing_bound_to_one_is_sent() -> None:
    """No digest is not the same as another field's missing digest."""
    assert not validity(replace(PREFIX, prefix=None), MESSAGE, TO, prefix=None, now_ms=0)
    assert not validity(PREFIX, MESSAGE, TO, prefix=None, now_ms=0)
