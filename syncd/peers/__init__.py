"""Other daemons that this one syncs with, over the protocol of any client."""

from syncd.peers.address import PeerAddress
from syncd.peers.peer import STATES, Peer, PeerState
from syncd.peers.peering import Peering

__all__ = ["STATES", "Peer", "PeerAddress", "PeerState", "Peering"]
