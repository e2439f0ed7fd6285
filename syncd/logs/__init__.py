"""The daemon's log: its lines, what never stands in them, and how many of one kind there are."""
