"""Variables that look like secrets: by their name, and by their value whatever their name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from packager.checks.declared import check_declared
from packager.spec import parse_spec
from tests.unit.plans import LEAST


def found(name: str, value: str) -> list[str]:
    spec_file = parse_spec(LEAST + yaml.safe_dump({"env": {name: value}}), Path("packager.yaml"))
    return [each.message for each in check_declared(spec_file) if each.rule == "env-secret"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AZURE_STORAGE_CONNECTION_STRING", "x"),
        ("SQLCONNSTR", "x"),
        ("AZURE_STORAGE_KEY", "x"),
        ("BLOB_SAS", "x"),
        ("API_TOKEN", "x"),
        ("WHERE", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=abcd=="),
        ("WHERE", "Server=tcp:db;User ID=me;Password=hunter2"),
        ("WHERE", "Endpoint=sb://a/;SharedAccessKeyName=b;SharedAccessKey=c"),
        ("WHERE", "https://a.blob.example/c?sv=1&sig=abcdefghij0123456789%3D"),
        ("WHERE", "postgresql://me:hunter2@db/x"),
        ("WHERE", "AKIAABCDEFGHIJKLMNOP"),
        ("WHERE", "ghp_abcdefghijklmnopqrst"),
    ],
)
def test_secrets(name: str, value: str) -> None:
    (message,) = found(name, value)
    assert message.startswith(f"{name} looks like a secret")
    # A finding is printed into logs.
    assert value == "x" or value not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKENIZERS_PARALLELISM", "false"),
        ("AZURE_STORAGE_CONNECTION_STRING", ""),
        ("WHERE", "https://example.com/a?signature=no"),
        ("WHERE", "postgresql://me@db:5432/x"),
        ("WHERE", "a:b@c"),
        ("SASL_MECHANISM", "PLAIN"),
        ("KEY_COLUMN", "id"),
    ],
)
def test_no_secrets(name: str, value: str) -> None:
    assert found(name, value) == []
