"""What runs in a pod before the server starts."""
