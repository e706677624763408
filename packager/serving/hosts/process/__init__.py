"""A package's service on this machine, without Docker: its locked environment, and files laid out as in the image."""
