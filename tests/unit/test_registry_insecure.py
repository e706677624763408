"""Registries that may be spoken to without TLS."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from packager.cli import cli
from packager.cli.common import insecure_option
from packager.engine.api import LocalImage
from packager.engine.push import Pushed
from packager.errors import UsageError
from packager.oci.outputs import write_docker_archive
from packager.reference import Reference, parse_insecure
from packager.registry.insecure import may_be_plain
from packager.registry.pull import pull_image
from packager.registry.push import push_images
from packager.storage.content import ContentStore
from tests.unit.oci_images import image_of, tar_of
from tests.unit.registry_fake import running


def plain(host: str, named: str = "", home: str = "/nowhere") -> bool:
    return may_be_plain(host, {"PACKAGER_INSECURE_REGISTRY": named, "HOME": home})


@pytest.mark.parametrize(
    ("named", "host", "expected"),
    [
        ("registry.lan:5000", "registry.lan:5000", True),
        ("Registry.lan:5000", "registry.LAN:5000", True),
        ("a.lan, registry.lan:5000", "registry.lan:5000", True),
        ("registry.lan", "registry.lan", True),
        ("registry.lan", "registry.lan:5000", False),
        ("registry.lan:5000", "registry.lan", False),
        ("istry.lan", "registry.lan", False),
        ("10.0.0.0/8", "10.1.2.3:5000", True),
        ("10.0.0.0/8", "11.1.2.3:5000", False),
        ("10.0.0.0/8", "registry.lan", False),
        ("fd00::/8", "[fd00::1]:5000", True),
        ("10.0.0.7:5000", "10.0.0.7:5000", True),
        ("", "registry.lan", False),
        ("", "127.0.0.1:5000", True),
    ],
)
def test_who_is_named(named: str, host: str, expected: bool) -> None:
    assert plain(host, named) is expected


@pytest.mark.parametrize("named", ["http://registry.lan", "registry.lan/x", "10.0.0.0/99", "a_b", "lan", "a:b"])
def test_what_is_no_registry(named: str) -> None:
    with pytest.raises(UsageError, match="is no registry"):
        parse_insecure(named)


def test_the_setting_of_the_users_own_engine(tmp_path: Path) -> None:
    (tmp_path / ".config/docker").mkdir(parents=True)
    file = tmp_path / ".config/docker/daemon.json"
    file.write_text(json.dumps({"insecure-registries": ["registry.lan:5000", 3]}))
    assert plain("registry.lan:5000", home=str(tmp_path))
    assert not plain("other.lan:5000", home=str(tmp_path))
    for broken in ("{", "[]", '{"insecure-registries": "registry.lan:5000"}'):
        file.write_text(broken)
        assert not plain("registry.lan:5000", home=str(tmp_path))


# --- the option ---


@click.command()
@insecure_option
def probe() -> None:
    click.echo(os.environ.get("PACKAGER_INSECURE_REGISTRY", "none"))


@pytest.mark.parametrize("before", [None, "a.lan:5000"])
def test_the_option_adds_to_the_variable_while_its_command_runs(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv("PACKAGER_INSECURE_REGISTRY", raising=False)
    if before is not None:
        monkeypatch.setenv("PACKAGER_INSECURE_REGISTRY", before)
    words = ["--insecure-registry", "b.lan:5000", "--insecure-registry", "10.0.0.0/8"]
    expected = ",".join([*([before] if before else []), "b.lan:5000", "10.0.0.0/8"])
    assert CliRunner().invoke(probe, words).output.strip() == expected
    assert os.environ.get("PACKAGER_INSECURE_REGISTRY") == before
    assert CliRunner().invoke(probe, []).output.strip() == (before or "none")


def test_the_option_wants_a_registry() -> None:
    result = CliRunner().invoke(probe, ["--insecure-registry", "http://b.lan"])
    assert result.exit_code == 2
    assert "without http://" in result.output


@pytest.mark.parametrize("verb", ["push", "pull", "inspect", "build", "lock", "save", "render", "plan", "bake"])
def test_verbs_that_ask_registries_have_the_option(verb: str) -> None:
    assert "--insecure-registry" in CliRunner().invoke(cli, [verb, "--help"]).output


def test_an_image_of_a_registry_without_tls_is_inspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in ("session", "insecure"):
        monkeypatch.setattr(f"packager.registry.{room}.is_local", lambda host: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with running() as registry:
        content = ContentStore(tmp_path / "content")
        monkeypatch.setenv("PACKAGER_INSECURE_REGISTRY", registry.address)
        (pushed,) = push_images([image_of(content, b"one")], content, [f"{registry.address}/ml/x:1"])
        monkeypatch.delenv("PACKAGER_INSECURE_REGISTRY")
        words = ["inspect", f"{registry.address}/ml/x:1"]
        assert "there is no TLS" in str(CliRunner().invoke(cli, words).exception)
        shown = CliRunner().invoke(cli, [*words, "--insecure-registry", registry.address])
        assert pushed.digest in shown.output


@pytest.mark.parametrize("named", [True, False])
def test_a_push_to_a_registry_that_is_named_goes_past_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    for room in ("session", "insecure"):
        monkeypatch.setattr(f"packager.registry.{room}.is_local", lambda host: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("PACKAGER_INSECURE_REGISTRY", raising=False)
    content = ContentStore(tmp_path / "of-the-engine")
    with running() as registry:
        reference = f"{registry.address}/ml/x:1"
        image = image_of(content, tar_of(a=b"one"))
        archive = write_docker_archive(image, [reference], tmp_path / "saved.tar", content)
        local = LocalImage(id=image.id, platform="linux/amd64", size=1, repo_digests=(), labels={})
        monkeypatch.setattr("packager.steps.push.require_local", lambda _: local)
        monkeypatch.setattr("packager.builders.base._saved_by_engine", lambda _: nullcontext(archive))
        by_engine = Pushed(reference=reference, digest="sha256:0", uploaded=1, present=0)
        monkeypatch.setattr("packager.steps.push.push_image", lambda *_, **__: by_engine)
        words = ["push", reference, *(["--insecure-registry", registry.address] if named else [])]
        result = CliRunner().invoke(cli, words, catch_exceptions=False)
        pushed = result.stdout.strip()
        if not named:
            assert pushed == by_engine.pinned
            return
        monkeypatch.setenv("PACKAGER_INSECURE_REGISTRY", registry.address)
        pulled = pull_image(Reference.parse(reference), ContentStore(tmp_path / "pulled"), {})
        assert pushed == f"{reference}@{pulled.top.digest}"
        assert image.id in pulled.blobs, "it is the engine's image, by its configuration"
