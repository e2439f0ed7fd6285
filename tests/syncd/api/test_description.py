"""The description of the API: valid, whole, and true."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from syncd.api.encoding import decode_json, encode_json
from syncd.api.schemas import NEW_CONVERSATION, NEW_MERGE, NEW_MESSAGE, NEW_RUN
from syncd.api.shapes import faults
from syncd.api.table import OPERATIONS
from tests.syncd.api.conftest import DESCRIPTION

# By hand, from contract 2: what there must be; and what operators and other daemons need besides.
CONTRACT = {
    "/api/conversations": {"get", "post"},
    "/api/conversations/{conversation}": {"get", "delete"},
    "/api/conversations/{conversation}/messages": {"post"},
    "/api/conversations/{conversation}/merge": {"post"},
    "/api/conversations/{conversation}/runs": {"post"},
    "/api/conversations/{conversation}/runs/{run}": {"get"},
    "/api/conversations/{conversation}/runs/{run}/approvals": {"post"},
    "/api/conversations/{conversation}/runs/{run}/lease": {"put", "delete"},
    "/api/conversations/{conversation}/events": {"get"},
    "/api/conversations/{conversation}/explain": {"get"},
    "/api/conversations/{conversation}/update": {"get"},
    "/api/blobs/{sha256}": {"get", "put"},
    "/api/models": {"get"},
    "/api/search": {"get"},
    "/api/events": {"get"},
    "/api/admin/compact": {"post"},
    "/api/admin/tools": {"get"},
}


def test_it_is_valid() -> None:
    """A validator of OpenAPI 3.1 finds nothing wrong with it."""
    assert [str(error) for error in OpenAPIV31SpecValidator(DESCRIPTION).iter_errors()] == []


def test_it_has_the_contract() -> None:
    """Every path and method that stands above, and no other."""
    assert {path: set(methods) for path, methods in DESCRIPTION["paths"].items()} == CONTRACT


def test_every_operation_has_a_name_of_its_own() -> None:
    """Generated clients name methods by it."""
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)


@pytest.mark.anyio
async def test_it_is_served_without_a_token(http: httpx.AsyncClient) -> None:
    """Tools read it as they are; it tells nothing that is not public."""
    answer = await http.get("/openapi.json", headers={"Authorization": ""})
    assert (answer.status_code, answer.json()) == (200, json.loads(json.dumps(DESCRIPTION)))


SCHEMAS = {"conversation": NEW_CONVERSATION, "message": NEW_MESSAGE, "merge": NEW_MERGE, "run": NEW_RUN}
WORDS = [
    *("role", "text", "parts", "branch", "parents", "from", "into", "target", "title", "id", "adapter"),
    *(
        "params",
        "model",
        "type",
        "sha256",
        "size",
        "user",
        "main",
        "media",
        "a" * 64,
        "",
        "summary",
        "x" * 201,
    ),
]
SCALARS = (
    st.none() | st.booleans() | st.integers(-2, 300) | st.sampled_from([1.0, 1.5]) | st.sampled_from(WORDS)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", SCHEMAS)
@given(value=VALUES)
def test_bodies_are_checked_as_they_are_described(name: str, value: Any) -> None:
    """Our few keywords say of any value what a full implementation of JSON Schema says."""
    assert (not list(faults(value, SCHEMAS[name]))) == Draft202012Validator(SCHEMAS[name]).is_valid(value)


EXAMPLES = [
    ("message", {"role": "user", "text": "x"}, []),
    ("message", {"role": "user"}, [""]),
    ("message", {"role": "user", "text": "", "parts": [{"type": "media", "size": -1}]}, ["/parts/0/size"]),
    ("message", {"role": "user", "text": "", "parents": [""]}, ["/parents/0"]),
    ("merge", {"from": "a", "into": ""}, ["/into"]),
    ("run", {"target": {"adapter": "a", "model": 1}}, ["/target/model"]),
    ("run", {"target": None}, ["/target"]),
    ("conversation", {"x~/y": 1}, ["/x~0~1y"]),
    ("conversation", None, [""]),
]


@pytest.mark.parametrize(("name", "value", "pointers"), EXAMPLES)
def test_faults_are_where_they_are(name: str, value: Any, pointers: list[str]) -> None:
    """A pointer leads to the field."""
    assert [fault.pointer for fault in faults(value, SCHEMAS[name])] == pointers


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_json_comes_back(value: Any) -> None:
    """What goes out comes in again as it was."""
    assert decode_json(encode_json(value)) == value


@given(st.binary(max_size=60))
def test_noise_is_json_or_refused(data: bytes) -> None:
    """Any bytes at all are decoded or are a ValueError."""
    try:
        value = decode_json(data)
    except ValueError:
        return
    assert decode_json(encode_json(value)) == value


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": {"b": object()}}, {"k": b"x"}])
def test_what_json_has_no_word_for_goes_out_as_null(value: Any) -> None:
    """Documents come from strangers: showing them is no error."""
    assert b"null" in encode_json(value)


def test_half_a_surrogate_pair_goes_out_escaped() -> None:
    """A refusal may quote what was asked for."""
    assert encode_json("\ud800") == b'"\\ud800"'
