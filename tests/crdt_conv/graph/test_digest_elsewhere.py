"""
Digests as somebody else computes them: RFC 8785 and the chain, written down here once more from the contract.

Nothing of ``crdt_conv.graph.digest`` is used; what is written comes from raw Yjs and from our own writer.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Map

from crdt_conv import Conversation, Message, new_part
from tests.replicas import replica

ESCAPES = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}

# RFC 8785, appendix B, and what ECMAScript writes at the ends of its forms.
NUMBERS = {
    -0.0: "0",
    1.5: "1.5",
    -7.25: "-7.25",
    1e20: "100000000000000000000",
    1e21: "1e+21",
    1e-6: "0.000001",
    1e-7: "1e-7",
    333333333.33333329: "333333333.3333333",
    9007199254740991.0: "9007199254740991",
    1e-27: "1e-27",
    5e-324: "5e-324",
    1.7976931348623157e308: "1.7976931348623157e+308",
    295147905179352830000.0: "295147905179352830000",
}


def canonical(value: Any) -> str:
    """Return the RFC 8785 form of a JSON value whose numbers are small and whole, or in the table."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: str(key).encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(key)}:{canonical(value[key])}" for key in keys) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(map(escaped, value)) + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return NUMBERS[value] if value in NUMBERS and value else str(int(value))


def escaped(character: str) -> str:
    """Return one character as it stands in a string."""
    code = ord(character)
    return ESCAPES.get(code) or (f"\\u{code:04x}" if code < 32 else character)


def visible(message: Message) -> dict[str, Any]:
    """Return what of a message is visible, and its nonce."""
    author = message.author
    return {
        "id": message.id,
        "role": message.role,
        "parents": message.parents,
        "branch": message.branch,
        "created": message.created,
        "author": {"kind": author.kind, "device": author.device, "name": author.name},
        "status": message.status,
        "nonce": message.nonce.hex(),
        "parts": [{"id": part.id, "type": part.type, **part.content} for part in message.parts],
    }


def digest_of(conversation: Conversation, *heads: str) -> bytes:
    """Fold the log under some heads."""
    digest = bytes(32)
    for message in conversation.lin(*heads):
        content = hashlib.sha256(canonical(visible(message)).encode()).digest()
        digest = hashlib.sha256(digest + content).digest()
    return digest


def strangers(part: dict[str, Any], **fields: Any) -> Conversation:
    """Return a conversation with one message that raw Yjs wrote."""
    doc: Doc[Any] = Doc()
    messages = doc.get("messages", type=Map)
    messages["m"] = Map({"role": "user", "parents": [], "parts": [part], **fields})
    conversation = replica()
    assert conversation.receive(doc.get_update())
    return conversation


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_are_written_as_ecmascript_writes_them(number: float) -> None:
    """Whole ones without a point, small and great ones with an exponent, and no minus before nothing."""
    conversation = strangers({"id": "1", "type": "odd", "x": number, "y": [{"z": number}]})
    assert conversation.digest("m") == digest_of(conversation, "m")


KEYS = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6", "id2", ""]


def test_keys_and_strings_of_any_kind() -> None:
    """Keys in the order of UTF-16, at every depth; control characters by their short names."""
    inner = {key: "".join(map(chr, range(0x20))) + '"\\/\u007f\u2028e\u0301\u00e9' for key in KEYS}
    conversation = strangers({"id": "1", "type": "odd", **inner, "deep": [inner]})
    assert conversation.digest("m") == digest_of(conversation, "m")


def test_a_time_that_is_a_float_and_an_author_that_is_half_there() -> None:
    """What a stranger leaves out reads as the contract fills it in, and is covered so."""
    conversation = strangers(
        {"type": "text"}, created=5.0, author={"name": "Ann \U0001f600"}, branch="\u00e9\n"
    )
    [message] = conversation.messages()
    assert (message.created, message.author.kind, message.branch) == (5, "unknown", "\u00e9\n")
    assert conversation.digest("m") == digest_of(conversation, "m")


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.text(max_size=8),
            st.recursive(
                st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(max_size=8),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
                ),
                max_leaves=6,
            ),
            st.integers(0, 2),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_graph_has_the_digest_that_others_compute(said: list[tuple[str, Any, int]]) -> None:
    """Of messages our own writer, on up to two others each: all digests, and that of the heads."""
    conversation = replica()
    written: list[str] = []
    for text, content, parents in said:
        part = new_part("tool_result", content=content)
        on = written[len(written) - parents :] if parents else []
        written.append(conversation.append("user", text, parts=[part], parents=on).id)
    for message_id in reversed(written):
        assert conversation.digest(message_id) == digest_of(conversation, message_id)
    heads = [head.id for head in conversation.heads()]
    assert conversation.log().digest == digest_of(conversation, *heads)
