"""Plan → Dockerfile text (Jinja), and its lint (hadolint)."""
