"""What is known of a run's answer; apart from what verbs share, which `--help` does without."""

from __future__ import annotations


class Answer:
    """Whether a run has put its one JSON document on standard output; click hands it to every verb as `obj`."""

    def __init__(self) -> None:
        self.given = False
