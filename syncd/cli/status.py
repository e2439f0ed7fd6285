"""``syncd status``: what the daemon of a store does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx
import typer
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from rich.markup import escape
from rich.table import Table

from syncd.auth import read_token
from syncd.cli.common import DbOption, JsonOption, console, print_json, published_url
from syncd.errors import StartError

app = typer.Typer()

TIMEOUT_S: Final = 5.0
# What is shown, in this order, and its name among the metrics.
ROWS: Final = {
    "open documents": "syncd_rooms",
    "sockets": "syncd_sockets",
    "of them too slow": "syncd_lagging_sockets",
    "bytes that wait for them": "syncd_held_bytes",
    "updates received": "syncd_updates_received_total",
    "updates on disk": "syncd_updates_committed_total",
    "on their way to the disk": "syncd_uncommitted_updates",
    "group commits": "syncd_commit_seconds_count",
    "conversations to bring up to date": "syncd_behind_conversations",
    "not let in": "syncd_admissions_denied_total",
}


@app.command()
def status(db: DbOption, json: JsonOption = False) -> None:
    """
    Show what the daemon of a store does, as a table.

    Examples:
        syncd status --json
    """
    url = published_url(db)
    samples = _samples(url, read_token(db) or "")
    told = {sample.name: sample.value for sample in samples if not sample.labels}
    peers = _peers(samples)
    if json:
        shown = {name: value for name, value in told.items() if name.startswith("syncd_")}
        print_json({"url": url, **shown, "peers": peers})
        return
    table = Table(title=f"{url} serves {db}", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for text, name in ROWS.items():
        table.add_row(text, f"{told.get(name, 0):,.0f}")
    commits = told.get("syncd_commit_seconds_count", 0)
    if commits:
        table.add_row("a commit takes, ms", f"{told['syncd_commit_seconds_sum'] / commits * 1000:.2f}")
    console.print(table)
    if peers:
        console.print(_peers_table(peers))


def _peers(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return how other daemons stand, in the order of their URLs."""
    peers: dict[str, dict[str, Any]] = {}
    for sample in samples:
        url = sample.labels.get("peer")
        if url is None:
            continue
        peer = peers.setdefault(url, {"url": url, "state": ""})
        if sample.name != "syncd_peer_state":
            peer[sample.name.removeprefix("syncd_peer_").removesuffix("_total")] = int(sample.value)
        elif sample.value:
            peer["state"] = sample.labels["state"]
    return sorted(peers.values(), key=lambda peer: str(peer["url"]))


def _peers_table(peers: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("peer", "state", box=None, header_style="dim")
    for text in ("updates waiting", "conversations behind", "frames out", "frames in"):
        table.add_column(text, justify="right")
    for peer in peers:
        counts = ("waiting_updates", "behind_conversations", "frames_sent", "frames_received")
        table.add_row(escape(peer["url"]), peer["state"], *(f"{peer.get(name, 0):,}" for name in counts))
    return table


def _samples(url: str, token: str) -> list[Sample]:
    """Return every metric."""
    try:
        answer = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        raise StartError(f"the daemon at {url} does not answer ({type(error).__name__})") from error
    if answer.status_code != httpx.codes.OK:
        raise StartError(f"the daemon at {url} says {answer.status_code}: is CONV_TOKEN another one's?")
    return [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
