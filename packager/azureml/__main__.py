"""`python -m packager.azureml script.py ARGS`: a script for Azure ML's SDK v1, run as it is."""

from __future__ import annotations

import os
import runpy
import sys

from packager.azureml.aliases import install
from packager.errors import PackagerError


def main() -> None:
    """Run the script that is named, with the arguments after it."""
    words = sys.argv[1:]
    if not words or words[0].startswith("-"):
        sys.stderr.write("usage: python -m packager.azureml script.py [ARGUMENTS]\n")
        raise SystemExit(2 if not words or words[0] not in ("-h", "--help") else 0)
    try:
        install()
    except PackagerError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(error.exit_code) from None
    sys.argv = words
    # As `python script.py` has it: modules beside the script are found.
    sys.path[0] = os.path.dirname(os.path.abspath(words[0]))
    runpy.run_path(words[0], run_name="__main__")


main()
