"""`ContainerRegistry`: where a base image comes from."""

from __future__ import annotations


class ContainerRegistry:
    """A registry, and who asks it.

    Attributes:
        address: of it.
        username: who asks.
        password: is handed to nobody: `docker login` is how packager is let in.
        registry_identity: is not used.
    """

    def __init__(self) -> None:
        self.address: str | None = None
        self.username: str | None = None
        self.password: str | None = None
        self.registry_identity: object = None

    def __repr__(self) -> str:
        return f"ContainerRegistry(address={self.address!r}, username={self.username!r})"
