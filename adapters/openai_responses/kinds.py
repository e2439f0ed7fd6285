"""The kinds of hidden fields that this API leaves in a message, and what stands in them."""

from __future__ import annotations

from typing import Final

RESPONSE: Final = "response"
"""The id of a whole answer that the provider holds; bound to the log that it stands for."""
REASONING: Final = "reasoning"
"""A reasoning item, whole."""
MESSAGE: Final = "message"
"""A message item without its texts, which are the parts from here on."""
CALL: Final = "function_call"
"""The keys of a call beside its name and arguments."""

ENDS: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)
"""Events behind which nothing comes."""
TEXTS: Final = {"output_text": "text", "refusal": "refusal"}
"""Types of content of a message, and the key under which each has its text."""
CALL_KEYS: Final = frozenset({"type", "call_id", "name", "arguments"})
"""What of a call stands in its part."""
