"""Findings: what `check` knows about an entry script, models and the lock."""
