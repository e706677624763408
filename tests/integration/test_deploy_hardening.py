"""A third party's rules for Kubernetes, held against what is written: checkov, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.unit.kubernetes_workloads import CASES

pytestmark = [pytest.mark.network, pytest.mark.long]

GOLDEN = Path(__file__).parents[1] / "golden/kubernetes"

#: Rule → why it is not kept.
WAIVED = {
    "CKV_K8S_40": "the image's user is 1000, who owns nothing in it; a higher number would not be the image's promise",
    "CKV_K8S_11": "a limit of processors is in the manifest where the spec has one; idle ones may be used else",
    "CKV_K8S_21": "the namespace is `default` where nobody names one",
}
#: Case → rules that it does not keep.
UNKEPT = {"plain": {"CKV_K8S_40", "CKV_K8S_11", "CKV_K8S_21"}, "canary": {"CKV_K8S_40"}, "older": {"CKV_K8S_40"}}


@pytest.mark.parametrize("case", UNKEPT)
def test_checkov_finds_nothing_but_what_is_waived(case: str, index: None) -> None:
    assert case in CASES
    words = ["--framework", "kubernetes", "--compact", "--output", "json", "--directory", str(GOLDEN / case)]
    done = subprocess.run(
        [find_uv_bin(), "tool", "run", "--from", "checkov>=3.2", "checkov", *words],
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = json.loads(done.stdout)
    assert found["summary"]["passed"] > 80, done.stderr
    assert {each["check_id"] for each in found["results"]["failed_checks"]} == UNKEPT[case]
    assert UNKEPT[case] <= set(WAIVED)
