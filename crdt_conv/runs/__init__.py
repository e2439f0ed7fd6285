"""Runs: durable requests to models, and the calls of tools in them."""
