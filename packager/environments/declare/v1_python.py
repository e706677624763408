"""The Python of a conda file that nobody asked for: azureml-core wrote its own default into every environment.

What writes such a file here says so in its first line, and what reads one takes the Python that packager has.
"""

from __future__ import annotations

import re

_LINE = "# python={} is azureml-core's default, and nobody asked for it\n"
_READ = re.compile(re.escape(_LINE).replace(r"\{\}", r"(?P<python>[0-9.]+)"))


def unasked_line(python: str) -> str:
    """Return the first line of a conda file whose Python nobody asked for."""
    return _LINE.format(python)


def unasked_python(text: str) -> str | None:
    """Return the requirement of a conda file (`python=3.8.13`) that nobody asked for; None where somebody did."""
    found = _READ.match(text)
    return f"python={found['python']}" if found is not None else None
