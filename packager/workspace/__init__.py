"""Registered models and environments: names with versions, in a folder or a registry, and what was made of them."""
