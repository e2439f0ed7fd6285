"""Chat Completions: OpenAI, and every server that speaks it."""

from adapters.openai_chat.adapter import OpenAIChat
from adapters.openai_chat.dialects import DIALECTS, Dialect, dialect_of

__all__ = ["DIALECTS", "Dialect", "OpenAIChat", "dialect_of"]
