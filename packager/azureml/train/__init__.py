"""`azureml.train`: training, whose names raise when they are used."""

from typing import Any

from packager.azureml.calling import trains


def __getattr__(name: str) -> Any:
    """Give a class that raises when one is made (PEP 562)."""
    if name.startswith("_"):
        raise AttributeError(name)
    return trains(name)
