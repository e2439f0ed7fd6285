"""Over SQLite: ``engine`` (log, blobs, leases) and ``index`` (derived); ``backup``, ``check``, ``recovery``."""
