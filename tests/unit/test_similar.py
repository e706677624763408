"""Which file is likely meant by a path that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.similar import meant, similar
from tests.unit import context_factory as factory


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("requirement.txt", "did you mean 'requirements.txt'?"),
        ("models/sentimint.joblib", "did you mean 'models/Sentiment.joblib'?"),
        ("models/sentiment.joblib", "did you mean 'models/Sentiment.joblib'?"),
        ("model/Sentiment.joblib", "did you mean 'models/Sentiment.joblib'?"),
        ("src/requirements.txt", "did you mean 'requirements.txt'?"),
        ("environment.yml", ""),
        ("a\0b", ""),
    ],
)
def test_paths(tmp_path: Path, path: str, says: str) -> None:
    factory.write_files(tmp_path, {"requirements.txt": "", "models/Sentiment.joblib": "", "score.py": ""})
    assert meant(tmp_path, path) == says


def test_nothing_is_like_nothing() -> None:
    assert similar("cpuu", ["gpu", "cpu"]) == "cpu"
    assert similar("fpga", ["gpu", "cpu"]) is None
