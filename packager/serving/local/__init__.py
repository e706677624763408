"""A package's service on this machine, without Docker: in its locked environment, from files laid out as in the image."""
