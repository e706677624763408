"""An image and the spec's `service:` section → the files by which a platform runs it, and how they are applied."""
