"""The Y.Doc of a conversation: what is read out of it, and written into it."""
