"""Rooms: one document each, who is in it, and how what they write gets to the disk and to each other."""
