from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from packager.errors import LockError
from packager.laying.conda import merge
from packager.laying.recipe import make_recipe
from tests.unit.plans import example_conda_plan


def tree(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_pips_half_is_merged_into_condas(tmp_path: Path) -> None:
    ours = tree(tmp_path / "prefix", lib__a="conda", lib__both="conda", bin__python="conda")
    wheels = tree(tmp_path / "wheels", lib__both="pip", lib__new__deep="pip", bin__flask="pip")
    merge(wheels, ours)
    found = {str(path.relative_to(ours)): path.read_text() for path in ours.rglob("*") if path.is_file()}
    assert found == {
        "lib/a": "conda", "lib/both": "pip", "lib/new/deep": "pip", "bin/python": "conda", "bin/flask": "pip",
    }  # fmt: skip


def test_a_hard_link_into_the_cache_is_not_written_through(tmp_path: Path) -> None:
    cached = tmp_path / "cached"
    cached.write_text("conda")
    ours = tree(tmp_path / "prefix")
    ours.mkdir()
    (ours / "both").hardlink_to(cached)
    merge(tree(tmp_path / "wheels", both="pip"), ours)
    assert cached.read_text() == "conda"


@pytest.mark.parametrize(("first", "second"), [("x", "x__y"), ("x__y", "x")])
def test_a_folder_never_takes_the_place_of_a_file(first: str, second: str, tmp_path: Path) -> None:
    with pytest.raises(LockError, match="'x', one as a folder"):
        merge(tree(tmp_path / "wheels", **{second: ""}), tree(tmp_path / "prefix", **{first: ""}))


def test_a_folder_is_not_merged_through_a_link(tmp_path: Path) -> None:
    outside = tree(tmp_path / "outside", a="theirs")
    ours = tmp_path / "prefix"
    ours.mkdir()
    (ours / "lib").symlink_to(outside)
    with pytest.raises(LockError):
        merge(tree(tmp_path / "wheels", lib__a="ours"), ours)
    assert (outside / "a").read_text() == "theirs"


def test_the_key_is_of_what_is_laid_down() -> None:
    plan = example_conda_plan()
    locked = plan.environment.locked
    recipe = make_recipe(locked, None)
    assert [each.name for each in recipe.locked.conda_packages] == ["numpy", "python"]
    assert recipe.locked.python == "3.13"
    assert locked.conda is not None
    fewer = msgspec.structs.replace(locked.conda, packages=locked.conda.packages[:1])
    assert make_recipe(msgspec.structs.replace(locked, conda=fewer), None).key != recipe.key
    assert make_recipe(msgspec.structs.replace(locked, variables={"A": "1"}, base="x"), None).key == recipe.key
    assert make_recipe(locked, None, compiler="3.13.5").key != recipe.key
