"""Locks: their files, whether they are fresh, what differs, and their text in the formats of other tools."""
