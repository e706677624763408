"""Registries: who we are there, and blobs and manifests on their way up and down."""
