"""Modules whose package is known by their name, where nobody looked into the wheels."""

from __future__ import annotations

import pytest

from packager.checks.unlocked import undecided_modules, unlocked_findings
from tests.unit.check_images import follow, installed

SCRIPT = "import cv2\nimport mine\n\ndef init(): pass\ndef run(data): pass\n"


@pytest.mark.parametrize(
    ("unknown", "module", "told"),
    [
        # Nobody looked into "other", which may have anything.
        (
            ("other",),
            "xgboost.sklearn",
            [("import-missing", "src/score.py", 1), ("model-module-missing", "m.pkl", None)],
        ),
        # Packages that have these modules are locked.
        (("opencv-python", "scikit-learn"), "sklearn.svm", []),
        # All wheels are known: other rules tell what is missing.
        ((), "xgboost.sklearn", []),
    ],
)
def test_a_known_package_that_is_not_locked(
    unknown: tuple[str, ...], module: str, told: list[tuple[str, str, int | None]]
) -> None:
    image, reached = follow({"score.py": SCRIPT}, installed(*unknown))
    needed = {"m.pkl": ("builtins", "mine.own", module)}
    findings = list(unlocked_findings(image, reached, needed, "requirements.txt"))
    assert [(each.rule, each.file, each.line) for each in findings] == told
    assert {each.severity for each in findings} <= {"warning"}


def test_only_what_no_known_package_has_is_undecided() -> None:
    _, reached = follow({"score.py": SCRIPT}, installed("other"))
    assert undecided_modules(["json", "sklearn.svm", "score", "xgboost.core", "xgboost"], reached.search) == (
        "xgboost",
    )
