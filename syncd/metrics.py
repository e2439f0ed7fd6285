"""What Prometheus is told: is it healthy, is it behind, who is slow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from syncd.hub import Hub
from syncd.peers import STATES, Peer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(hub: Hub, peers: Mapping[Peer, int]) -> bytes:
    """
    Return what is counted, in Prometheus' text format.

    Args:
        hub: What serves clients.
        peers: Other daemons, with the updates that wait for each.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_HubCollector(hub))
    registry.register(_PeersCollector(peers))
    return generate_latest(registry)


class _PeersCollector(Collector):
    """Reads peers when it is asked."""

    def __init__(self, peers: Mapping[Peer, int]) -> None:
        self._peers = peers

    def collect(self) -> Iterator[Metric]:
        if not self._peers:
            return
        state = GaugeMetricFamily("syncd_peer_state", "1 for how a peer stands", labels=["peer", "state"])
        for peer in self._peers:
            for each in STATES:
                state.add_metric([peer.url, each], int(peer.state == each))
        yield state
        for kind, name, text, read in _OF_PEERS:
            family = kind(f"syncd_peer_{name}", text, labels=["peer"])
            for peer, waiting in self._peers.items():
                family.add_metric([peer.url], waiting if read is None else read(peer))
            yield family


_Read: TypeAlias = Callable[[Peer], int] | None
_Kind: TypeAlias = type[GaugeMetricFamily] | type[CounterMetricFamily]
# Without a way to read it, it is what waits.
_OF_PEERS: Sequence[tuple[_Kind, str, str, _Read]] = (
    (GaugeMetricFamily, "waiting_updates", "Updates that it has not stored yet", None),
    (GaugeMetricFamily, "open_conversations", "Conversations that are exchanged now", lambda p: p.open_count),
    (GaugeMetricFamily, "behind_conversations", "Those that are not in sync yet", lambda p: p.behind),
    (CounterMetricFamily, "connections", "Times it was connected", lambda p: p.connected),
    (CounterMetricFamily, "frames_sent", "Frames with updates that were sent there", lambda p: p.sent),
    (CounterMetricFamily, "frames_received", "Frames of documents from there", lambda p: p.received),
    (CounterMetricFamily, "conversations_deleted", "Deleted here as they were there", lambda p: p.deleted),
)


class _HubCollector(Collector):
    """Reads a hub when it is asked: nothing is counted twice on the way."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        yield from self._now()
        yield from self._since_start()

    def _now(self) -> Iterator[Metric]:
        hub = self._hub
        sockets = tuple(hub.sockets)
        for name, text, value in (
            ("up", "1 while updates are taken", int(hub.is_running and not hub.is_ending)),
            ("store_failing", "1 where the last commit failed", int(hub.commits.has_failed)),
            ("rooms", "Open documents", len(hub.rooms)),
            ("sockets", "Open WebSockets", len(sockets)),
            ("members", "Documents open on all sockets", len(hub.admissions)),
            ("lagging_sockets", "Sockets that read too slowly", sum(s.is_lagging for s in sockets)),
            ("held_bytes", "Bytes that wait for slow sockets", sum(s.held_bytes for s in sockets)),
            ("uncommitted_updates", "Updates on their way to the disk", hub.commits.waiting),
            ("behind_conversations", "Conversations not brought up to date yet", hub.follower.behind),
        ):
            yield GaugeMetricFamily(f"syncd_{name}", text, value=value)

    def _since_start(self) -> Iterator[Metric]:
        counters = self._hub.counters
        for name, text, value in (
            ("updates_received", "Updates that clients sent", counters.received),
            ("updates_received_bytes", "Their bytes", counters.received_bytes),
            ("updates_committed", "Updates that are on disk", counters.committed),
            ("rows_committed", "Rows of the log that hold them", counters.commits),
            ("updates_relayed", "Frames with updates that were sent", counters.relayed),
            ("updates_merged", "Updates that were held for slow sockets and merged", counters.merged),
            ("admissions_denied", "Times somebody was not let in", counters.denied),
        ):
            yield CounterMetricFamily(f"syncd_{name}", text, value=value)
        refused = CounterMetricFamily("syncd_updates_refused", "Updates that were refused", labels=["status"])
        for status, count in counters.refused.items():
            refused.add_metric([status], count)
        yield refused
        closed = CounterMetricFamily(
            "syncd_sockets_closed", "Sockets that the server closed", labels=["code"]
        )
        for code, count in counters.closed.items():
            closed.add_metric([str(code)], count)
        yield closed
        commits = self._hub.commits
        yield SummaryMetricFamily(
            "syncd_commit_seconds",
            "Group commits, fsync included",
            count_value=commits.count,
            sum_value=commits.spent_s,
        )
