"""Images without an engine: layers, configuration and manifest written by ourselves, and their way to a registry."""
