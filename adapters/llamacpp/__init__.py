"""llama.cpp: any GGUF model, in a child process or by URL."""

from adapters.llamacpp.adapter import LlamaCpp
from adapters.llamacpp.client import LlamaClient
from adapters.llamacpp.model import find_model
from adapters.llamacpp.server import LlamaServer

__all__ = ["LlamaClient", "LlamaCpp", "LlamaServer", "find_model"]
