"""Sync servers side by side: the daemon beside stock servers, driven alike over real sockets."""
