"""The kinds of hidden fields that this API leaves in a message, and what stands in them."""

from __future__ import annotations

from typing import Final

RESPONSE: Final = "response"
"""The id of a whole answer that the provider holds; bound to the log that it stands for."""
REASONING: Final = "reasoning"
"""A reasoning item, whole."""
MESSAGE: Final = "message"
"""A message item; a text that is missing in it is the next part of the message, from this one on."""
CALL: Final = "function_call"
"""The keys of a call beside its name and arguments."""
CUSTOM: Final = "custom_tool_call"
"""The same of a call whose input is plain text: its arguments are an object with that as ``input``."""
INPUT: Final = ('{"input":"', '"}')
"""What stands around such a text."""

ENDS: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)
"""Events behind which nothing comes."""
TEXTS: Final = {"output_text": "text", "refusal": "refusal"}
"""Types of content of a message, and the key under which each has its text."""
CALL_KEYS: Final = frozenset({"type", "call_id", "name", "arguments"})
"""What of a call stands in its part."""
WAITING: Final = frozenset({"apply_patch_call", "computer_call", "local_shell_call", "shell_call"})
"""Calls that the provider's client has to answer; a shell in a container is answered there."""
