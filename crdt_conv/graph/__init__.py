"""The graph: what was written on top of what, the log as each message saw it, and its digest."""
