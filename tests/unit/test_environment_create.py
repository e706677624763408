from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from packager.environments.locked import LockedPlatform
from packager.errors import ContextError, LockError, UsageError
from packager.laying.create import MARKER, Machine, create, environment_key
from packager.laying.native import native_platform
from packager.laying.programs import environment_of
from packager.targets import load_target
from tests.unit.plans import CONDA, example_conda_locked, example_locked, example_platform
from tests.unit.test_oci_environment import make_wheel

HERE = next((each for each, tags in load_target("cpu").wheels.items() if tags.startswith(os.uname().machine)), "")


def test_only_this_machines_platform_can_be_laid_down_here() -> None:
    platforms = dict(load_target("cpu").wheels)
    locked = example_locked(platforms=platforms)
    if sys.platform == "linux" and HERE:
        assert native_platform(locked.request, "cpu") == HERE
        assert native_platform(locked.request, "cpu", HERE) == HERE
        del platforms[HERE]
    (other, *_) = platforms
    with pytest.raises(UsageError, match=f"{other} is not this machine's platform"):
        native_platform(locked.request, "cpu", other)
    with pytest.raises(UsageError, match=f"locked for {other}, and this machine is"):
        native_platform(example_locked(platforms={other: platforms[other]}).request, "cpu")


def test_what_is_wanted_is_of_one_platform() -> None:
    wanted = example_platform(example_conda_locked(), conda=CONDA, variables={"A": "1"})
    assert [each.name for each in wanted.conda_packages] == ["numpy", "python"]
    assert "only-arm" not in [each.name for each in wanted.packages]
    assert wanted.python == "3.13"
    same = example_platform(example_conda_locked(), conda=CONDA)
    assert environment_key(same) == environment_key(wanted)
    assert environment_key(example_platform(example_locked())) != environment_key(wanted)
    with pytest.raises(LockError):
        example_platform(example_conda_locked())


def test_a_program_gets_the_environment_and_no_other() -> None:
    environ = {"PATH": "/bin", "VIRTUAL_ENV": "/old", "CONDA_PREFIX": "/older", "PYTHONHOME": "/x", "HOME": "/h"}
    conda = example_platform(example_conda_locked(), conda=CONDA, variables={"A": "1", "HOME": "/other"})
    assert environment_of(conda, Path("/p"), environ) == {
        "PATH": "/p/bin:/bin", "CONDA_PREFIX": "/p", "A": "1", "HOME": "/other",
    }  # fmt: skip
    pip = example_platform(example_locked())
    assert environment_of(pip, Path("/p"), environ) == {"PATH": "/p/bin:/bin", "VIRTUAL_ENV": "/p", "HOME": "/h"}


@pytest.mark.parametrize("force", [False, True])
def test_what_others_made_is_left_alone(force: bool, tmp_path: Path) -> None:
    wanted = example_platform(example_locked())
    here = Machine(root=tmp_path, cache=tmp_path / "cache", environ={})
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").touch()
    with pytest.raises(ContextError, match="was not made by packager"):
        create(wanted, theirs, here, force=force)
    with pytest.raises(ContextError, match="not a folder"):
        create(wanted, theirs / "file", here, force=force)
    (tmp_path / "link").symlink_to(theirs)
    with pytest.raises(ContextError, match="not a folder"):
        create(wanted, tmp_path / "link", here, force=force)


def test_an_environment_of_another_lock_is_kept_unless_forced(tmp_path: Path) -> None:
    wanted = example_platform(example_locked())
    here = Machine(root=tmp_path, cache=tmp_path / "cache", environ={})
    (tmp_path / "env").mkdir()
    marker = tmp_path / "env" / MARKER
    marker.write_text('{"key": "another", "complete": true}')
    with pytest.raises(ContextError, match="of another lock"):
        create(wanted, tmp_path / "env", here)
    marker.write_text(f'{{"key": "{environment_key(wanted)}", "complete": true}}')
    assert create(wanted, tmp_path / "env", here) is False


def test_settings_of_uv_do_not_change_what_the_lock_says(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    wheel = make_wheel(tmp_path / "links", "tool", {"tool.py": ""})
    (tmp_path / "constraints.txt").write_text("tool==2\n")
    environ = {**os.environ, "UV_FIND_LINKS": str(tmp_path / "links"), "UV_CACHE_DIR": str(tmp_path / "uv")}
    environ |= {"PIP_NO_INDEX": "1", "UV_CONSTRAINT": str(tmp_path / "constraints.txt")}
    here = Machine(root=tmp_path, cache=tmp_path / "cache", environ=environ)
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    wanted = LockedPlatform(target="cpu", platform="linux/amd64", tags="", python=python, base="", packages=(wheel,))
    assert create(wanted, tmp_path / "env", here)
    assert (tmp_path / f"env/lib/python{python}/site-packages/tool.py").is_file()
