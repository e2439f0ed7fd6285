"""OpenAI's Responses API, at OpenAI and wherever else it is spoken."""

from adapters.openai_responses.adapter import OpenAIResponses

__all__ = ["OpenAIResponses"]
