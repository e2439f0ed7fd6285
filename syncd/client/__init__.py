"""The Python client of the sync daemon."""

from syncd.client.client import SyncClient
from syncd.client.leases import RemoteGrants
from syncd.client.link import Link, LinkStatus

__all__ = ["Link", "LinkStatus", "RemoteGrants", "SyncClient"]
