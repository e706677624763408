"""The local service and its client."""
