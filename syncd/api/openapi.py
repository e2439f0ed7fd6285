"""The description of the API (OpenAPI 3.1), made of the table that serves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from importlib import metadata
from typing import Any, Final

from syncd.api.operations import Answer, Operation, Parameter
from syncd.api.problems import MEDIA
from syncd.api.schemas import COMPONENTS, ref
from syncd.auth import Right

OF_ALL: Final = (401, 403, 429, 500, 503)
OF_CONVERSATIONS: Final = (404, 410)
OF_BODIES: Final = (400, 408, 413, 415)

_PATHS: Final[Mapping[str, Mapping[str, Any]]] = {
    "conversation": {"type": "string", "minLength": 1, "maxLength": 200},
    "run": {"type": "string", "minLength": 1},
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}


def describe(operations: Sequence[Operation], *, prefix: str = "/api") -> dict[str, Any]:
    """
    Return the whole description.

    Args:
        operations: The table.
        prefix: Where it is served.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(prefix + operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "crdt-conv",
            "version": _version(),
            "description": "Conversations, messages, runs, blobs, search. Refusals: RFC 9457.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": COMPONENTS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _version() -> str:
    try:
        return metadata.version("crdt-conv")
    except metadata.PackageNotFoundError:
        # A checkout that was not installed.
        return "0"


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": _right_of(operation),
        "tags": [operation.path.split("/")[1]],
        "parameters": [
            *({"name": n, "in": "path", "required": True, "schema": _PATHS[n]} for n in operation.path_names),
            *map(_parameter, operation.parameters),
        ],
        "responses": _responses(operation),
    }
    if operation.body is not None:
        content = {operation.body.media: {"schema": operation.body.schema or {}}}
        described["requestBody"] = {"required": operation.body.is_required, "content": content}
    return described


def _right_of(operation: Operation) -> str:
    if operation.right is None:
        return operation.note
    where = "this conversation" if "conversation" in operation.path_names else "the whole server"
    if any(parameter.name == "conversation" for parameter in operation.parameters):
        where = "the conversation that `conversation` names, else in the whole server"
    return f"Needs the right `{Right(operation.right).value}` in {where}."


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.is_required,
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _responses(operation: Operation) -> dict[str, Any]:
    answers = {str(status): _answer(answer) for status, answer in operation.answers.items()}
    return answers | {str(status): _problem(status) for status in sorted(refusals_of(operation))}


def refusals_of(operation: Operation) -> set[int]:
    """Return every status of a problem that an operation may answer with."""
    statuses = {*OF_ALL, *operation.refusals}
    if "conversation" in operation.path_names:
        statuses.update(OF_CONVERSATIONS)
    if operation.body is not None:
        statuses.update(OF_BODIES)
    if operation.parameters or (operation.body is not None and operation.body.schema is not None):
        statuses.add(422)
    return statuses


def _answer(answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    if answer.media is not None:
        described["content"] = {answer.media: {"schema": answer.schema or {}}}
    if answer.headers:
        described["headers"] = {
            name: {"description": words, "schema": {"type": "string"}}
            for name, words in answer.headers.items()
        }
    return described


def _problem(status: int) -> dict[str, Any]:
    return {"description": HTTPStatus(status).phrase, "content": {MEDIA: {"schema": ref("Problem")}}}
