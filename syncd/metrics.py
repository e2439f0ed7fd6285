"""What Prometheus is told: is it healthy, is it behind, who is slow."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from syncd.hub import Hub

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(hub: Hub) -> bytes:
    """Return what a hub counts, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_HubCollector(hub))
    return generate_latest(registry)


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
            ("up", "1 while updates are taken", int(hub.is_running)),
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
