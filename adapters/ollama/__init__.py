"""Ollama's own API."""

from adapters.ollama.adapter import Ollama

__all__ = ["Ollama"]
