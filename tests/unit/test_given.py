"""The one reader of files that somebody else made: what it takes, and what neither hangs it nor leads it out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from packager.checks.installed import Installed
from packager.checks.module_facts import MAX_SOURCE
from packager.checks.packaged import Reader, image_of
from packager.checks.reach import reach
from packager.checks.secrets import secret_findings
from packager.dockerfile.render import make_environment
from packager.engine.api import inspect_local
from packager.environments.declare.requirements_txt import RequirementsReader
from packager.environments.locks.files import read_file
from packager.errors import ContextError, LockError, PackagerError, RenderError, SpecError, UsageError
from packager.given import read_given
from packager.init.azure_files import read_hints
from packager.models.mlmodel import read_mlmodel
from packager.registry.auth import docker_credentials
from packager.registry.insecure import may_be_plain
from packager.serving.cases import prepare
from packager.spec import parse_spec
from packager.spec.document import read_text
from packager.steps.doctor import check_logins
from packager.targets import load_target
from tests.unit.context_factory import SCORE, plan, write_files, write_spec
from tests.unit.plans import LEAST


def pipe(path: Path) -> None:
    os.mkfifo(path)


def zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def outside(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def folder_outside(path: Path) -> None:
    # The file is a file; the folder that it is in is the link.
    kept = path.parent.parent.parent / f"{path.parent.parent.name}-elsewhere"
    path.parent.rename(kept)
    (kept / path.name).write_text("a: 1\n")
    path.parent.symlink_to(kept)


HOSTILE = (pipe, zero, outside)


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_given(tmp_path / "a", 5) == b"12345"
    assert read_given(tmp_path / "a", 5, tmp_path) == b"12345"


def test_a_file_above_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(1 << 40)  # takes no space
    with pytest.raises(OSError, match="larger than 5 bytes"):
        read_given(tmp_path / "a", 5)


@pytest.mark.parametrize("path", ["/proc/self/maps", "/proc/self/status"])
def test_a_file_without_a_size_is_held_to_the_limit(path: str) -> None:
    with pytest.raises(OSError, match="larger than 5 bytes"):
        read_given(path, 5)


@pytest.mark.parametrize("make", [pipe, zero, Path.mkdir])
def test_what_is_no_regular_file_is_refused_and_does_not_hang(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a")
    with pytest.raises(OSError, match="not a regular file"):
        read_given(tmp_path / "a")


def test_links_stay_below_the_folder(tmp_path: Path) -> None:
    root, other = tmp_path / "spec", tmp_path / "spec-private"
    for folder in (root / "in", other):
        folder.mkdir(parents=True)
    (root / "in/file").write_bytes(b"mine")
    (other / "key").write_bytes(b"theirs")
    (root / "link").symlink_to("in/file")
    (root / "up").symlink_to(other)
    (root / "direct").symlink_to(other / "key")
    assert read_given(root / "link", below=root) == b"mine"
    for path in (root / "up/key", root / "direct", root / ".." / "spec-private" / "key", root):
        with pytest.raises(OSError, match="leads out of the folder"):
            read_given(path, below=root)


def test_a_folder_that_is_swapped_for_a_link_after_the_look_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, other = tmp_path / "spec", tmp_path / "other"
    for folder in (root / "in", other):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(folder.name.encode())
    real = os.path.realpath

    def look_then_swap(path: str | os.PathLike[str]) -> str:
        found = real(path)
        if os.fspath(path).endswith("file"):
            (root / "in").rename(tmp_path / "was")
            (root / "in").symlink_to(other)
        return found

    monkeypatch.setattr("packager.given.os.path.realpath", look_then_swap)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        read_given(root / "in/file", below=root)


# --- those who read by it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [*HOSTILE, folder_outside])
@pytest.mark.parametrize("field", ["file: sent/it.json", "request: 1, expect: {file: sent/it.json}"])
def test_files_of_tests(tmp_path: Path, make: Callable[[Path], None], field: str) -> None:
    (tmp_path / "spec/sent").mkdir(parents=True)
    make(tmp_path / "spec/sent/it.json")
    spec_file = parse_spec(f"{LEAST}test: [{{name: one, {field}}}]\n", tmp_path / "spec/packager.yaml")
    with pytest.raises(ContextError, match="cannot be read"):
        prepare(spec_file)


@pytest.mark.parametrize("make", [*HOSTILE, folder_outside])
@pytest.mark.parametrize("name", ["cpu.Dockerfile.j2", "part.j2"])
def test_templates(tmp_path: Path, make: Callable[[Path], None], name: str) -> None:
    (tmp_path / "spec/templates").mkdir(parents=True)
    make(tmp_path / "spec/templates" / name)
    environment = make_environment(tmp_path / "spec/templates")
    with pytest.raises(RenderError, match="cannot be read"):
        environment.get_template(name)


@pytest.mark.parametrize("make", [*HOSTILE, folder_outside])
def test_targets(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "spec/templates").mkdir(parents=True)
    make(tmp_path / "spec/templates/mine.toml")
    with pytest.raises(SpecError, match=r"mine.toml cannot be read"):
        load_target("mine", tmp_path / "spec/templates")


@pytest.mark.parametrize("make", [*HOSTILE, folder_outside])
@pytest.mark.parametrize(
    "read",
    [
        lambda root: RequirementsReader(root, root).read(Path("model/it")),
        lambda root: read_text(root / "model/it", root),
        lambda root: read_mlmodel(root / "model/it", root),
    ],
)
def test_declarations(tmp_path: Path, make: Callable[[Path], None], read: Callable[[Path], object]) -> None:
    root = tmp_path / "spec"
    (root / "model").mkdir(parents=True)
    make(root / "model/it")
    with pytest.raises(SpecError, match="cannot be read"):
        read(root)


@pytest.mark.parametrize("make", [pipe, zero])
def test_locks(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "packager.lock")
    with pytest.raises(LockError, match="not a regular file") as caught:
        read_file(tmp_path / "packager.lock")
    assert isinstance(caught.value, PackagerError)


@pytest.mark.parametrize("make", [pipe, zero, Path.mkdir])
def test_the_configuration_of_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "config.json")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for host in ("", "unix:///nowhere"):
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(UsageError, match=r"config.json cannot be read: it is not a regular file"):
            inspect_local("a:1", required=True)
    with pytest.raises(UsageError, match=r"config.json cannot be read: it is not a regular file"):
        docker_credentials("reg.example.com")
    found = check_logins({"DOCKER_CONFIG": str(tmp_path)})
    assert (found.status, found.detail.rpartition(": ")[2]) == ("warning", "it is not a regular file")


@pytest.mark.parametrize("make", [pipe, zero])
def test_the_settings_of_an_engine(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "docker").mkdir()
    make(tmp_path / "docker/daemon.json")
    assert not may_be_plain("registry.lan:5000", {"XDG_CONFIG_HOME": str(tmp_path)})


@pytest.mark.parametrize("make", [*HOSTILE, folder_outside])
def test_files_that_are_packaged_and_changed_since_they_were_scanned(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    root = tmp_path / "spec"
    write_files(root, {"score.py": "from sub import helper\n" + SCORE, "sub/helper.py": "import os\n"})
    spec_file = write_spec(root, source_dir=".", models=())
    planned = plan(spec_file)
    # As large as what was scanned was, and with a secret in it.
    (root / "sub/helper.py").unlink()
    make(root / "sub/helper.py")
    if make is folder_outside:
        (root / "sub/helper.py").write_text(f"TOKEN = 'ghp_{'a' * 36}'\n")
    reached = reach(image_of(spec_file.spec, planned), Installed({}), Reader(root, image_of(spec_file.spec, planned)))
    (problem,) = (each for each in reached.problems if each.file == "sub/helper.py")
    assert problem.message.startswith("cannot be read")
    assert list(secret_findings(planned, root)) == []


def test_a_module_that_is_too_large_is_not_looked_into(tmp_path: Path) -> None:
    write_files(tmp_path, {"score.py": "import helper\n" + SCORE, "helper.py": "#" * (MAX_SOURCE + 1)})
    spec_file = write_spec(tmp_path, source_dir=".", models=())
    image = image_of(spec_file.spec, plan(spec_file))
    (problem,) = reach(image, Installed({}), Reader(tmp_path, image)).problems
    assert "is larger than 1048576 bytes, and was not looked into" in problem.message


def test_files_of_azure_ml_that_init_reads(tmp_path: Path) -> None:
    pipe(tmp_path / "inferenceconfig.json")
    zero(tmp_path / "Dockerfile")
    assert read_hints(tmp_path, ["inferenceconfig.json", "Dockerfile"]).read == []
