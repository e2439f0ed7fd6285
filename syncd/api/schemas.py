"""
The shapes of everything that goes in and out, as JSON Schema (2020-12, as OpenAPI 3.1 has it).

``COMPONENTS`` are those with a name; ``ref`` points to one. What comes in is described
strictly; what goes out may have keys that are not named here, since documents do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from crdt_conv.checks import LONGEST_BRANCH
from crdt_conv.leases import LONGEST_S
from crdt_conv.messages.message import PART_TYPES, ROLES


def ref(name: str) -> dict[str, str]:
    """Return the reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "required": [*required], "properties": {**required, **(optional or {})}}


def _strict(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return _object(required, optional) | {"additionalProperties": False}


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


TEXT: Final = {"type": "string"}
ID: Final = {"type": "string", "minLength": 1, "maxLength": 200}
MILLISECONDS: Final = {"type": "integer", "minimum": 0, "description": "Since 1970, in milliseconds."}
DIGEST: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256 in hexadecimal."}
BRANCH: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST_BRANCH,
    "description": "A branch's name; the first is main.",
}
CURSOR: Final = {"type": ["string", "null"], "description": "Where the next page begins; null at the end."}
STATE: Final = "requested, claimed, streaming, complete, failed, cancelled or interrupted"

TARGET: Final = _strict(
    {"adapter": {"type": "string", "minLength": 1, "maxLength": 100}},
    {
        "model": {"type": ["string", "null"], "maxLength": 1000},
        "endpoint": {"type": ["string", "null"], "maxLength": 2000},
        "params": {"type": "object", "description": "What the adapter passes on."},
    },
)

NEW_PART: Final = {
    **_object(
        # What nobody knows is for other programs to write.
        {"type": {"type": "string", "enum": sorted(PART_TYPES)}},
        {
            "id": {"type": "string", "minLength": 1, "maxLength": 100},
            "text": TEXT,
            "call_id": TEXT,
            "arguments": {"type": "string", "description": "JSON, as text."},
            "is_error": {"type": "boolean"},
            "mime": TEXT,
            "sha256": DIGEST,
            "size": {"type": "integer", "minimum": 0},
        },
    ),
    "description": "A part of contract 1; further keys are kept.",
}

NEW_CONVERSATION: Final = _strict(
    {},
    {
        "title": {"type": "string", "maxLength": 10_000},
        "id": {**ID, "description": "Made elsewhere; drawn here, where it is left out."},
    },
)
NEW_MESSAGE: Final = {
    **_strict(
        {"role": {"type": "string", "enum": sorted(ROLES - {"merge"})}},
        {
            "text": {"type": "string", "description": "The first part."},
            "parts": {"type": "array", "items": NEW_PART, "minItems": 1, "maxItems": 1000},
            "branch": BRANCH,
            "parents": {
                "type": "array",
                "items": ID,
                "maxItems": 1000,
                "description": "What it is written on top of; all heads of its branch, where it is left out. "
                "With a new branch it forks.",
            },
        },
    ),
    "anyOf": [{"required": ["text"]}, {"required": ["parts"]}],
}
NEW_MERGE: Final = _strict({"from": BRANCH}, {"into": BRANCH})
NEW_RUN: Final = _strict(
    {},
    {
        "target": {**TARGET, "description": "Which model; the conversation's default, where it is left out."},
        "branch": BRANCH,
    },
)
NEW_APPROVAL: Final = _strict(
    {
        "call": {**TEXT, "description": "The call's `call_id` in its message, or `MESSAGE:PART`."},
        "approved": {"type": "boolean"},
    }
)

NEW_LEASE: Final = _strict(
    {
        "owner": {**ID, "description": "Who asks: the same for as long as it lives, and nobody else's."},
        "ttl_s": {
            "type": "number",
            "minimum": 1,
            "maximum": LONGEST_S,
            "description": "For how many seconds, unless it is renewed before.",
        },
    }
)

_NOTE: Final = _object({"about": TEXT, "reason": TEXT})

COMPONENTS: Final[Mapping[str, Any]] = {
    "Problem": _object(
        {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT},
        {"errors": _list(_object({"pointer": TEXT, "detail": TEXT}))},
    ),
    "Listed": _object(
        {
            "id": ID,
            "title": TEXT,
            "created": MILLISECONDS,
            "updated": MILLISECONDS,
            "archived": {"type": "boolean", "description": "It was put away: lists leave it out."},
        }
    ),
    "Listing": _object({"conversations": _list(ref("Listed")), "next": CURSOR}),
    "Created": _object({"id": ID}),
    "Lease": _object(
        {
            "epoch": {"type": "integer", "minimum": 1, "description": "One higher with every new owner."},
            "state_vector": {
                **TEXT,
                "description": "What the server has of the conversation, as a state vector in hexadecimal: "
                "an owner begins once it has as much.",
            },
        }
    ),
    "Author": _object({"kind": TEXT, "device": TEXT, "name": TEXT}),
    "Part": _object({"id": TEXT, "type": TEXT}),
    "Message": _object(
        {
            "id": ID,
            "role": TEXT,
            "parents": _list(ID),
            "branch": TEXT,
            "status": TEXT,
            "author": ref("Author"),
            "created": MILLISECONDS,
            "text": TEXT,
            "parts": _list(ref("Part")),
            "digest": DIGEST,
        },
        {
            "run": TEXT,
            "model": TEXT,
            "usage": {"type": "object"},
            "stop_reason": TEXT,
            "source": _list(ID),
        },
    ),
    "Conversation": _object(
        {
            "id": ID,
            "title": TEXT,
            "branch": TEXT,
            "heads": _list(ID),
            "diverged": {
                "type": "boolean",
                "description": "Devices wrote apart; the next message joins them.",
            },
            "digest": DIGEST,
            "messages": _list(ref("Message")),
        }
    ),
    "Run": _object(
        {
            "id": ID,
            "state": {"type": "string", "description": STATE},
            "branch": TEXT,
            "parents": _list(ID),
            "target": _object(
                {
                    "adapter": TEXT,
                    "model": {"type": ["string", "null"]},
                    "endpoint": {"type": ["string", "null"]},
                }
            ),
            "created": MILLISECONDS,
            "requested_by": TEXT,
            "claims": _list({"type": "object"}),
            "outputs": _list(ID),
            "sent": {"type": ["object", "null"]},
            "error": {"type": ["object", "null"]},
            "cancel": {"type": "boolean"},
            "calls": _list(
                _object(
                    {
                        "message": ID,
                        "part": TEXT,
                        "state": {"type": "string", "description": "pending, begun or done."},
                        "epoch": {"type": "integer"},
                        "approved": {
                            "type": ["boolean", "null"],
                            "description": "What a person has said; pending and null: one is asked.",
                        },
                    }
                )
            ),
        }
    ),
    "Explanation": _object(
        {
            "adapter": TEXT,
            "model": TEXT,
            "branch": TEXT,
            "log": DIGEST,
            "tools": {**_list(TEXT), "description": "Names of what the server's executor offers."},
            "messages": {"type": "integer", "description": "How many of the log are in it."},
            "left_out": _list(_NOTE),
            "repairs": _list(_NOTE),
            "hidden": _list(
                _object({"message": ID, "part": {"type": ["string", "null"]}, "kind": TEXT, "space": TEXT})
            ),
            "reused": {"type": "object", "description": "State of the provider's that is used again."},
            "request": _object(
                {
                    "method": TEXT,
                    "path": TEXT,
                    "bytes": {"type": "integer"},
                    "digest": DIGEST,
                    "body": {"type": ["object", "null"]},
                }
            ),
        }
    ),
    "Tools": _object(
        {
            "tools": _list(
                _object(
                    {
                        "name": TEXT,
                        "server": TEXT,
                        "description": TEXT,
                        "needs_approval": {"type": "boolean", "description": "A person is asked first."},
                        "is_repeatable": {"type": "boolean"},
                        "parameters": {"type": "object", "description": "JSON Schema."},
                    }
                )
            ),
            "servers": _list(
                _object(
                    {
                        "name": TEXT,
                        "tools": {"type": "integer"},
                        "problem": {**TEXT, "description": "Why it is not connected; empty else."},
                    }
                )
            ),
        }
    ),
    "Models": _object(
        {"models": _list(_object({"adapter": TEXT, "model": {"type": ["string", "null"]}}))},
    ),
    "Branch": _object({"name": TEXT, "title": TEXT, "archived": {"type": "boolean"}, "heads": _list(ID)}),
    "Snippet": {
        **_list(_object({"text": TEXT, "found": {"type": "boolean"}})),
        "description": "Pieces of the text; those that were found are marked.",
    },
    "Found": _object(
        {
            "conversation": ref("Listed"),
            "message": {"type": ["string", "null"], "description": "A message's id; null: it is the title."},
            "snippet": ref("Snippet"),
        }
    ),
    "SearchResults": _object({"results": _list(ref("Found")), "next": CURSOR}),
    "Compaction": {
        "anyOf": [
            _object({"done": {"type": "integer"}, "total": {"type": "integer"}}),
            _object(
                {
                    "conversations": _list(
                        _object(
                            {
                                "id": ID,
                                "before": {"type": "integer", "description": "In bytes."},
                                "after": {"type": "integer", "description": "In bytes."},
                                "reason": {**TEXT, "description": "Why nothing was done; empty else."},
                            }
                        )
                    )
                }
            ),
            _object({"problem": _object({"status": {"type": "integer"}, "detail": TEXT})}),
        ],
        "description": "A line: how many conversations are done; or, last, what became of each, or why not.",
    },
    "Blob": _object({"sha256": DIGEST, "size": {"type": "integer", "minimum": 0}}),
}
