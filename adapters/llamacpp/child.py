"""
llama-server in a process of its own; the only module that imports ``xllamacpp``.

The parent runs this file and writes one line of JSON: ``model``, ``api_key``,
``context_tokens`` (of all slots together), ``slots``, ``threads``, ``slot_save_path``,
``chat_template`` and ``port`` (0: any free one). It reads one line: ``{"url", "build", "cache_k", "cache_v",
"flash_attention"}`` once the server listens, or ``{"error": …}``. llama.cpp's own words go to
standard error.

Rules: it listens on 127.0.0.1 only, and answers only those who know the key. It
ends when its standard input closes, and so with its parent, however that ends,
also in the middle of loading. Ctrl-C at a terminal reaches the whole group; what
to do about it is the parent's to say.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from typing import Any

if sys.platform != "win32":
    import fcntl

ERRORS_ONLY = 1
"""What llama.cpp says at a higher verbosity quotes requests, and so conversations."""


def main() -> None:
    """Serve until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wanted: dict[str, Any] = json.loads(sys.stdin.readline())
    _end_when_input_closes()
    # llama.cpp may print to standard output: keep that one line for us alone.
    answer = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        server, about = _start(wanted)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
        answer.write(json.dumps({"error": str(error) or type(error).__name__}) + "\n")
        # Not _exit: llama.cpp writes its log in a thread, and the cause stands there.
        sys.exit(1)
    answer.write(json.dumps({"url": server.listening_address, **about}) + "\n")
    while sys.stdin.read(4096):
        pass
    # No clean-up of a model that the system frees faster.
    os._exit(0)


def _end_when_input_closes() -> None:
    """
    Let the kernel end this process when the parent is gone.

    A thread that reads could not: loading holds the interpreter's lock, for minutes
    with a large model. Where SIGIO is ignored (macOS), loading is finished first.
    """
    if sys.platform == "win32":
        return
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    # It may have closed just before: then no signal comes any more.
    if select.select([0], [], [], 0)[0]:
        os._exit(0)


def _start(wanted: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    try:
        import xllamacpp  # noqa: PLC0415 - optional, and slow to load
    except ImportError as error:
        raise RuntimeError("llama.cpp is not installed: pip install 'crdt-conv[local]'") from error
    params = xllamacpp.CommonParams()
    params.model.path = wanted["model"]
    params.hostnames = ["127.0.0.1"]
    params.port = wanted["port"]
    params.api_keys = [wanted["api_key"]]
    params.n_ctx = wanted["context_tokens"]
    params.n_parallel = wanted["slots"]
    # Between two of these it looks whether anybody still waits for the answer, and at other slots.
    params.n_batch = 512
    params.endpoint_slots = True
    params.warmup = False
    params.ui = False
    params.verbosity = ERRORS_ONLY
    if wanted["threads"] is not None:
        params.cpuparams.n_threads = wanted["threads"]
    if wanted.get("chat_template") is not None:
        params.chat_template = wanted["chat_template"]
    if wanted["slot_save_path"] is not None:
        # llama.cpp puts file names right behind it.
        params.slot_save_path = os.path.join(wanted["slot_save_path"], "")  # noqa: PTH118 - Path drops the end
        # What slots held is kept on disk: not in gigabytes of memory as well.
        params.cache_ram_mib = 0
    server = xllamacpp.Server(params)
    return server, {
        "build": f"xllamacpp {xllamacpp.__version__}",
        "cache_k": str(params.cache_type_k),
        "cache_v": str(params.cache_type_v),
        "flash_attention": str(params.flash_attn_type),
    }


if __name__ == "__main__":
    main()
