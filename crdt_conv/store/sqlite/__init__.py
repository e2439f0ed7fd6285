"""The engine over SQLite: ``engine`` (log, blobs, leases), ``index`` (derived), ``upkeep``."""
