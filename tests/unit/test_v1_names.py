"""Names of Azure ML v1's curated environments: each leads to one that is there."""

from __future__ import annotations

import pytest

from packager.environments.declare import v1_names
from packager.environments.declare.curated import curated_names
from packager.environments.declare.v1_names import nearest


def test_every_name_leads_to_an_environment_that_is_there() -> None:
    table = v1_names._table()
    assert {*table.names.values(), *table.families.values()} <= set(curated_names())
    assert all(name.startswith(v1_names.PREFIX) for name in (*table.names, *table.families))
    assert v1_names.v1_names() == table.names


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("AzureML-Tutorial", "sklearn"),
        ("AZUREML-TUTORIAL", "sklearn"),
        ("AzureML-Scikit-learn-0.20.3", "sklearn"),
        ("AzureML-TensorFlow-1.13-CPU", "tensorflow"),
        ("AzureML-ACPT-pytorch-1.11-py38-cuda11.3-gpu", "pytorch"),
        ("AzureML-Designer", None),
        ("sklearn", None),
        ("mine", None),
    ],
)
def test_the_nearest(name: str, ours: str | None) -> None:
    assert nearest(name) == ours
