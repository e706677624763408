"""Request → exact packages: uv for pip, rattler or conda-lock for conda."""
