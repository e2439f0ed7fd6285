"""The kinds of hidden fields that Gemini leaves in a message."""

from __future__ import annotations

from typing import Final

SIGNATURE: Final = "thought_signature"
"""What a part was signed with, as it came."""
PART: Final = "part"
"""A part that nobody else knows, whole; or what stands beside a text or a call in its part."""

DUMMY: Final = "skip_thought_signature_validator"
"""Google's own word for a call that another model made (facts, 4.1)."""
