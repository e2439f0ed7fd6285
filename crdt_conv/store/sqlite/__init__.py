"""Over SQLite: ``engine`` (log, blobs, leases), ``index`` (derived), ``backup``, ``check``, ``recovery``."""
