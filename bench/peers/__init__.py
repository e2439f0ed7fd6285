"""
Other people's stores, used as their own documentation uses them, behind one port.

``python -m bench.peers NAME COUNT`` measures one of them and prints a line of JSON. The versions are those of
``bench/requirements.txt``. Each class says what it really guarantees when ``append`` returns.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import cast

from bench.peers.port import Peer

__all__ = ["PEERS", "Peer", "open_peer"]

# By name, not by class: measuring one peer must not import, and so weigh, the others.
PEERS = {
    "agents": "bench.peers.agents_sdk:AgentsPeer",
    "agents-advanced": "bench.peers.agents_sdk:AdvancedAgentsPeer",
    "bare": "bench.peers.bare:BarePeer",
    "crdt-conv": "bench.peers.ours:OurPeer",
    "langgraph": "bench.peers.langgraph_sqlite:LangGraphPeer",
    "langgraph-delta": "bench.peers.langgraph_sqlite:DeltaLangGraphPeer",
    "llm": "bench.peers.llm_logs:LlmPeer",
    "llm-store": "bench.peers.llm_logs:LlmStorePeer",
}


def open_peer(name: str, path: Path) -> Peer:
    """
    Make an empty conversation in a new file.

    Raises:
        KeyError: There is no peer of that name.
    """
    module, _, attribute = PEERS[name].partition(":")
    return cast("Peer", getattr(importlib.import_module(module), attribute)(path))
