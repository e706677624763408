"""`environments/pypi-names.toml`: what PyPI calls conda's packages, and which of them pip can install instead."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from typing import Any

from packager.resources import data_folder


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    return tomllib.loads((data_folder("environments") / "pypi-names.toml").read_text("utf-8"))


def known_names() -> dict[str, str]:
    """Return conda name → PyPI name of what differs and is met often; an empty one is nothing of PyPI's."""
    return dict(_data()["names"])


def same_names() -> frozenset[str]:
    """Return names that conda and PyPI share for one project, which pip can install wherever conda can."""
    return frozenset(_data()["same"])


def of_conda() -> frozenset[str]:
    """Return the names of `known_names` that pip cannot simply install in conda's place."""
    return frozenset(_data()["of_conda"])
