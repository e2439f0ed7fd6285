"""Anthropic's Messages API, at Anthropic and wherever else it is spoken."""

from adapters.anthropic.adapter import Anthropic

__all__ = ["Anthropic"]
