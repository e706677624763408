"""Names that scripts import from here (numbers as of azureml-core 1.61)."""

from __future__ import annotations

from enum import Enum


class PromoteHeadersBehavior(Enum):
    """Which files of a dataset begin with the names of columns."""

    NO_HEADERS = 0
    ONLY_FIRST_FILE_HAS_HEADERS = 1
    COMBINE_ALL_FILES_HEADERS = 2
    ALL_FILES_HAVE_SAME_HEADERS = 3
