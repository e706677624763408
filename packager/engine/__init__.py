"""References, the engine, the registry."""
