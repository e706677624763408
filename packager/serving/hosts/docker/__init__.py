"""Services in containers of an engine."""
