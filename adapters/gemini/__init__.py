"""Google's Gemini, by its API key or on Vertex."""

from adapters.gemini.adapter import Gemini

__all__ = ["Gemini"]
