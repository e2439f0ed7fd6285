"""llama.cpp: any GGUF model, in a child process or by URL."""

from adapters.llamacpp.adapter import LlamaCpp
from adapters.llamacpp.model import find_model
from adapters.llamacpp.server import LlamaServer

__all__ = ["LlamaCpp", "LlamaServer", "find_model"]
