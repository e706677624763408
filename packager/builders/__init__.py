"""Plan → image: which builder, the two that there are, and what brings an image where it is wanted."""
