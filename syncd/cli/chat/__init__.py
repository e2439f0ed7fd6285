"""``conv chat``: a session at the prompt."""

from syncd.cli.chat.command import chat

__all__ = ["chat"]
