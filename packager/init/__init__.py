"""`packager init`: what a folder tells of itself, and the spec that follows from it."""
