"""
``python -m adapters.llamacpp.child``: llama-server in a process of its own.

The parent writes one line of JSON, and reads one: ``{"url": …}`` once the server
listens, or ``{"error": …}``. Then this process waits for its standard input to
close, so that it ends with its parent, however that ends. Ctrl-C at a terminal
reaches the whole group; what to do about it is the parent's to say.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any


def main() -> None:
    """Serve until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wanted: dict[str, Any] = json.loads(sys.stdin.readline())
    # llama.cpp may print to standard output: keep that one line for us alone.
    answer = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        server = _start(wanted)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
        answer.write(json.dumps({"error": str(error) or type(error).__name__}) + "\n")
        sys.exit(1)
    answer.write(json.dumps({"url": server.listening_address}) + "\n")
    while sys.stdin.read(4096):
        pass
    # No clean-up of a model that the system frees faster.
    os._exit(0)


def _start(wanted: dict[str, Any]) -> Any:
    try:
        import xllamacpp  # noqa: PLC0415 - optional, and slow to load
    except ImportError as error:
        raise RuntimeError("llama.cpp is not installed: pip install 'crdt-conv[local]'") from error
    params = xllamacpp.CommonParams()
    params.model.path = wanted["model"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [wanted["api_key"]]
    params.n_ctx = wanted["context_tokens"]
    params.n_parallel = wanted["slots"]
    params.endpoint_slots = True
    params.warmup = False
    params.ui = False
    if wanted["threads"] is not None:
        params.cpuparams.n_threads = wanted["threads"]
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
