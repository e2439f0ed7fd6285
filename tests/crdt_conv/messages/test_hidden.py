"""Hidden fields: what comes back, in which order, and what is passed over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Map

from crdt_conv import (
    Conversation,
    Destination,
    HiddenField,
    InvalidMessage,
    UnknownMessage,
    new_part,
    validity,
)
from crdt_conv.messages.fields import Json
from crdt_conv.messages.hidden import BLOB_FROM
from crdt_conv.messages.message import Part
from tests.crdt_conv import handmade as by_hand
from tests.crdt_conv.test_hostile import ODD
from tests.replicas import copy_of, exchange, reopened, replica, restarted

FIELD = HiddenField("openai", "space", "reasoning", b"sealed")


def data_of(conversation: Conversation, message_id: str) -> list[Any]:
    """Return the data of a message's hidden fields, in their order."""
    return [field.data for field in conversation.hidden(message_id)]


# What comes back


@given(st.lists(st.binary(), min_size=1, max_size=3))
def test_bytes_come_back_byte_for_byte(data: list[bytes]) -> None:
    """Written with the message or added later, read here, after a restart and on another device."""
    conversation = replica()
    fields = [replace(FIELD, data=one) for one in data]
    message = conversation.append("assistant", "Rome.", hidden=fields)
    conversation.add_hidden(message.id, *fields)
    for reader in (conversation, reopened(conversation), restarted(conversation), copy_of(conversation)):
        assert data_of(reader, message.id) == data * 2


numbers = (
    st.integers() | st.floats() | st.sampled_from([-0.0, 2**53 - 1, 2**53, -(2**53), 1e300, 5e-324, 2**31])
)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def same(one: Json, other: Json) -> bool:
    """Whether two values are the same JSON; 5 and 5.0 are, 0 and -0.0, 1 and true are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if one == other == 0:
        return str(float(one)) == str(float(other))
    return bool(one == other)


def seal(conversation: Conversation, data: Any, *, later: bool) -> str | None:
    """Write a message with a hidden field, at once or later; returns its id, or nothing if refused."""
    field = replace(FIELD, data=data)
    try:
        message = conversation.append("assistant", "Rome.", hidden=[] if later else [field])
        if later:
            conversation.add_hidden(message.id, field)
    except InvalidMessage:
        return None
    return message.id


@pytest.mark.parametrize("later", [False, True])
@given(values)
def test_json_comes_back_as_the_same_value_or_is_refused(later: bool, data: Json) -> None:  # noqa: FBT001
    """No value is changed in silence: what a document can't hold exactly is an error."""
    conversation = replica()
    sealed = seal(conversation, data, later=later)
    if sealed is not None:
        for reader in (conversation, restarted(conversation), copy_of(conversation)):
            assert [same(back, data) for back in data_of(reader, sealed)] == [True]
    else:
        assert not any(conversation.hidden(message.id) for message in conversation.messages())


def nested(depth: int) -> Json:
    """Return lists in each other."""
    value: Json = "deep"
    for _ in range(depth):
        value = [value]
    return value


KEPT: dict[str, Json] = {
    "an empty object": {},
    "an empty list": [],
    "no words": "",
    "false": False,
    "minus nothing": -0.0,
    "the greatest whole number": 2**53 - 1,
    "the least": -(2**53 - 1),
    "31 bits and one more": 2**31,
    "a great fraction": 1e308,
    "a small one": 5e-324,
    "keys in another order": {"b": 1, "a": {"z": [None, True]}},
    "an odd key": {"": 1, "ключ 😀": 2, "\0": 3},
    "60 lists in each other": nested(60),
}
REFUSED: dict[str, Any] = {
    "nothing": None,
    "a number beyond a double": 2**53,
    "a negative one": -(2**53),
    "an infinite number": float("inf"),
    "not a number": float("nan"),
    "one inside": {"a": [1, {"b": 2**60}]},
    "1,000 lists in each other": nested(1000),
    "half a surrogate pair": "\ud800",
    "bytes inside": [b"x"],
    "a key that is no text": {1: "x"},
    "a set": {1},
}


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("data", KEPT.values(), ids=KEPT.keys())
def test_this_json_is_kept(data: Json, *, later: bool) -> None:
    """What every Yjs reads as it was written comes back."""
    conversation = replica()
    sealed = seal(conversation, data, later=later)
    assert sealed is not None
    assert [same(back, data) for back in data_of(restarted(conversation), sealed)] == [True]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_this_is_refused(data: Any, *, later: bool) -> None:
    """What would not come back as it was is refused, and not written by half."""
    conversation = replica()
    assert seal(conversation, data, later=later) is None
    assert [message.hidden_count for message in conversation.messages()] == [0] * later


def test_everything_else_of_a_field_comes_back() -> None:
    """Every key of the contract is kept, and ``created`` is filled in."""
    whole = HiddenField(
        "p", "s", "k", {"a": 1}, "prefix", "at", "model", "endpoint", "digest", None, created=5, expires=7
    )
    conversation = replica()
    message = conversation.append("assistant", "Rome.", hidden=[whole, FIELD])
    first, second = copy_of(conversation).hidden(message.id)
    assert first == whole
    assert second == replace(FIELD, created=second.created)
    assert second.created > 0


@pytest.mark.parametrize(
    "field",
    [
        replace(FIELD, binding="forever"),
        replace(FIELD, blob="ab"),
        replace(FIELD, data=None),
        replace(FIELD, expires=-1),
        replace(FIELD, expires=10**400),
    ],
    ids=["no binding", "data and a blob", "neither", "an end before time", "an end beyond numbers"],
)
def test_a_field_that_can_t_be_is_refused(field: HiddenField) -> None:
    """A slip of the pen is an error, and nothing is written."""
    conversation = replica()
    with pytest.raises(InvalidMessage):
        conversation.append("assistant", "Rome.", hidden=[field])
    assert conversation.last_seq == 0


def test_nothing_is_sealed_into_what_is_not_here() -> None:
    """An unknown id is named."""
    with pytest.raises(UnknownMessage, match="nobody"):
        replica().add_hidden("nobody", FIELD)


# Blobs


@pytest.mark.parametrize(("size", "is_blob"), [(BLOB_FROM, False), (BLOB_FROM + 1, True)])
@pytest.mark.parametrize("later", [False, True])
def test_what_is_over_64_kib_is_a_blob(size: int, *, is_blob: bool, later: bool) -> None:
    """It is outside of the document and comes back byte for byte; 64 KiB exactly are inside."""
    data = bytes(n % 251 for n in range(size))
    conversation = replica()
    sealed = seal(conversation, data, later=later)
    assert sealed is not None
    (field,) = conversation.hidden(sealed)
    assert (field.data == data, field.blob is not None) == (True, is_blob)
    assert (len(conversation.encode()) > size) is not is_blob
    assert conversation.message(sealed).blobs == ((field.blob,) if is_blob else ())


@pytest.mark.parametrize("text", ["x" * (BLOB_FROM + 1), "é" * (BLOB_FROM // 2 + 1)])
def test_a_text_over_64_kib_comes_back_as_text(text: str) -> None:
    """A long JSON text is a blob, and the same text when it is read."""
    conversation = replica()
    message = conversation.append("assistant", "Rome.", hidden=[replace(FIELD, data=text)])
    (field,) = conversation.hidden(message.id)
    assert (field.data == text, field.blob is not None) == (True, True)


@pytest.mark.parametrize("later", [False, True])
def test_json_over_64_kib_comes_back_as_json(later: bool) -> None:  # noqa: FBT001
    """A large value is a blob like any other data, and the same value when it is read."""
    data = {"items": ["é" * BLOB_FROM, 1, 0.5, None, {"deep": [True]}]}
    conversation = replica()
    sealed = seal(conversation, data, later=later)
    assert sealed is not None
    (field,) = conversation.hidden(sealed)
    assert (field.data, conversation.message(sealed).blobs) == (data, (field.blob,))
    assert len(conversation.encode()) < BLOB_FROM


def test_large_json_that_is_not_kept_exactly_is_refused() -> None:
    """A number beyond a double is refused whatever the size, so that no limit depends on it."""
    with pytest.raises(InvalidMessage, match="as JSON text"):
        replica().append("assistant", "Rome.", hidden=[replace(FIELD, data=["x" * BLOB_FROM, 2**60])])


@pytest.mark.parametrize("encoding", ["utf-8", "json", "unheard of"])
def test_a_blob_that_is_not_what_it_says_is_bytes(encoding: str) -> None:
    """A stranger's field may call anything JSON, or text."""
    field = replace(FIELD, data=None, blob="0" * 64, encoding=encoding)
    assert field.with_data(lambda _: b"\xff[").data == b"\xff["


def test_a_blob_that_is_elsewhere_has_no_data() -> None:
    """On a device that has only the document the field is there, and may not be sent."""
    conversation = replica()
    message = conversation.append("assistant", "Rome.", hidden=[replace(FIELD, data=b"x" * 70_000)])
    (field,) = copy_of(conversation).hidden(message.id)
    assert (field.data, field.blob) == (None, message.blobs[0])
    assert not validity(field, message, Destination("space"), prefix=None, now_ms=0)


# Order


def parts_and_fields() -> tuple[list[Part], list[HiddenField]]:
    """Return two parts, and fields of them and of none in a wild order."""
    parts = [new_part("reasoning", text="hm"), new_part("text", text="Rome.")]
    places = [None, parts[1].id, parts[0].id, "gone", parts[1].id, parts[0].id, None]
    return parts, [replace(FIELD, data=str(n), at=at) for n, at in enumerate(places)]


ORDERED = ["2", "5", "1", "4", "0", "3", "6"]


def test_fields_stand_in_the_order_of_their_parts() -> None:
    """Those of one part stay as they came; those of no part, or of one that is gone, are last."""
    parts, fields = parts_and_fields()
    conversation = replica()
    message = conversation.append("assistant", parts=parts, hidden=fields)
    assert data_of(conversation, message.id) == ORDERED
    assert data_of(copy_of(conversation), message.id) == ORDERED


def test_fields_that_are_added_one_by_one_have_the_same_order() -> None:
    """A stream seals as it goes: that makes no difference."""
    parts, fields = parts_and_fields()
    conversation = replica()
    writer = conversation.stream()
    writer.seal(*fields[:3])
    for part in parts:
        writer.add(part)
    for field in fields[3:]:
        writer.seal(field)
    assert data_of(conversation, writer.message_id) == ORDERED


# Strangers


def with_hidden(*items: by_hand.Content | bytes) -> bytes:
    """Return a message ``m`` with an Array of hidden fields as a stranger writes them."""
    fields = {"role": by_hand.string("user"), "parents": by_hand.array()}
    encoded = [by_hand.item(by_hand.type_of(by_hand.MAP), "messages", "m")]
    encoded += [by_hand.item(by_hand.values(value), (7, 0), key) for key, value in fields.items()]
    encoded.append(by_hand.item(by_hand.type_of(by_hand.ARRAY), (7, 0), "hidden"))
    contents = (given if isinstance(given, tuple) else by_hand.values(given) for given in items)
    # Each is put before the ones that came earlier.
    encoded += [by_hand.item(content, (7, 3)) for content in contents]
    return by_hand.update(7, 0, encoded)


GOOD = by_hand.mapping(provider=by_hand.string("p"), kind=by_hand.string("ours"), data=by_hand.string("good"))


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_an_odd_field_is_passed_over_and_kept(odd: by_hand.Content) -> None:
    """What is no hidden field hides none beside it, and travels on."""
    conversation = replica()
    conversation.receive(with_hidden(odd, GOOD))
    conversation.add_hidden("m", FIELD)
    assert data_of(conversation, "m") == ["good", b"sealed"]
    again = copy_of(conversation)
    assert again.message("m").hidden_count == conversation.message("m").hidden_count > 2
    assert again.read("messages") == conversation.read("messages")
    assert len(again.encode()) == len(conversation.encode())


ODD_FIELDS = {
    "a number": by_hand.double(5.0),
    "null": by_hand.NULL,
    "undefined": by_hand.UNDEFINED,
    "a list": by_hand.array(GOOD),
    "a provider that is a number": by_hand.mapping(provider=by_hand.double(1.0)),
    "a binding that is a list": by_hand.mapping(binding=by_hand.array()),
    "a place that is a number": by_hand.mapping(at=by_hand.double(1.0)),
    "a blob that is a number": by_hand.mapping(blob=by_hand.double(1.0)),
    "a time before time": by_hand.mapping(created=by_hand.double(-1.0)),
    "an end that is a word": by_hand.mapping(expires=by_hand.string("tomorrow")),
}


@pytest.mark.parametrize("odd", ODD_FIELDS.values(), ids=ODD_FIELDS.keys())
def test_a_field_of_odd_values_is_passed_over_and_kept(odd: bytes) -> None:
    """A key of the wrong type makes one field unreadable, and no other."""
    conversation = replica()
    conversation.receive(with_hidden(odd, GOOD))
    for reader in (conversation, copy_of(conversation)):
        assert (data_of(reader, "m"), reader.message("m").hidden_count) == (["good"], 2)


def test_a_field_with_unknown_keys_is_read() -> None:
    """Keys of a later version stay where they are."""
    conversation = replica()
    conversation.receive(with_hidden(by_hand.mapping(kind=by_hand.string("k"), mood=by_hand.string("merry"))))
    assert [field.kind for field in conversation.hidden("m")] == ["k"]
    assert b"merry" in copy_of(conversation).encode()


def test_a_message_without_hidden_fields_gets_its_first() -> None:
    """Another program may leave ``hidden`` out."""
    conversation = replica()
    conversation.receive(by_hand.entry(7, "m"))
    conversation.add_hidden("m", FIELD)
    assert data_of(restarted(conversation), "m") == [b"sealed"]


def test_a_plain_list_of_fields_grows() -> None:
    """Another program may write ``hidden`` as a plain list: its fields stay in front of ours."""
    conversation = replica()
    sealed = by_hand.mapping(data=b"\x74\x03\0\1\xff")
    conversation.receive(by_hand.entry(7, "m", hidden=by_hand.array(GOOD, sealed)))
    assert data_of(conversation, "m") == ["good", b"\0\1\xff"]
    conversation.add_hidden("m", FIELD)
    assert data_of(restarted(conversation), "m") == ["good", b"\0\1\xff", b"sealed"]


# No part of what a message is


def test_two_ciphertexts_of_one_thought_are_one_message() -> None:
    """A provider seals the same thought differently each time: neither id nor digest tells of it."""
    one, question = replica(), "Where?"
    one.append("user", question)
    writer = one.stream()
    writer.write("Rome.")
    other = copy_of(one)
    for device, data in ((one, b"first"), (other, b"second")):
        device.writer(writer.message_id).seal(replace(FIELD, data=data))
    assert one.log().digest == other.log().digest
    assert [m.id for m in one.messages()] == [m.id for m in other.messages()]
    before = one.log().digest
    exchange(one, other)
    assert one.log().digest == other.log().digest == before
    assert sorted(data_of(one, writer.message_id)) == [b"first", b"second"]


def plain_message() -> Conversation:
    """Return a conversation with a message that another program wrote as a plain object."""
    doc: Doc[Map[object]] = Doc()
    fields = [{"provider": "p", "space": "s", "kind": "k", "data": b"\x00\xff"}]
    parts = [{"id": "p", "type": "text", "text": "Hi"}]
    doc.get("messages", type=Map)["m"] = {
        "role": "assistant",
        "parents": [],
        "hidden": fields,
        "parts": parts,
    }
    conversation = replica()
    conversation.receive(doc.get_update())
    return conversation


def test_fields_of_a_plain_object_are_read_and_grow() -> None:
    """Bytes come back as bytes, and a field that is added stands behind them."""
    conversation = plain_message()
    assert data_of(conversation, "m") == [b"\x00\xff"]
    conversation.add_hidden("m", HiddenField("p", "s", "k", b"more"))
    conversation.writer("m").write(" there")
    assert data_of(restarted(conversation), "m") == [b"\x00\xff", b"more"]
    assert conversation.message("m").text == "Hi there"


def test_fields_of_a_plain_object_are_stripped() -> None:
    """Nothing is left of them, and the message says what it said."""
    conversation = plain_message()
    assert (conversation.strip(), data_of(conversation, "m")) == (1, [])
    assert conversation.message("m").text == "Hi"
