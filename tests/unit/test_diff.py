"""`packager diff`: images, specs and locks against each other; and the packages that `inspect` finds in an image."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

import packager
from packager.builders.inspect import inspect_image
from packager.cli import cli
from packager.contract import BASE_DIGEST_LABEL, BASE_NAME_LABEL
from packager.errors import ContextError, LockError, SpecError, UsageError
from packager.laying.image_contents import ImagePackage, contents_of
from packager.oci.values import LAYER, digest_of
from packager.reports.difference import Contents, File, compare
from packager.spec import load_spec
from packager.steps.diff import diff
from packager.storage.content import ContentStore
from packager.units import human_size
from tests.unit.oci_images import config_of, manifest_of
from tests.unit.test_dependencies import run

SITE = "opt/env/lib/python3.13/site-packages"


def file(content: str, size: int = 1, mode: str = "644") -> File:
    return File(size=size, mode=mode, content=content)


def side(**values: Any) -> Contents:
    return Contents(**{"name": "x", "kind": "image", "packages": {}, **values})


# --- what differs -----------------------------------------------------------------------------------------------------


def test_an_edit_of_the_same_length_is_a_difference() -> None:
    found = compare(side(files={"/a": file("1")}), side(files={"/a": file("2")}), "/opt/env")
    assert [each.path for each in found.files] == ["/a"]
    assert not compare(side(files={"/a": file("1")}), side(files={"/a": file("1")}), "/opt/env")


def test_files_of_packages_are_counted_unless_they_are_asked_for() -> None:
    old, new = side(files={"/opt/env/x": file("1")}), side(files={"/opt/env/x": file("2"), "/b": file("1")})
    found = compare(old, new, "/opt/env")
    assert ([each.path for each in found.files], found.package_files) == (["/b"], 1)
    found = compare(old, new, "/opt/env", all_files=True)
    assert ([each.path for each in found.files], found.package_files) == (["/b", "/opt/env/x"], 0)


def test_what_a_spec_does_not_say_is_not_compared() -> None:
    spec = side(kind="spec", folders=("/app",), files={"/app/a": file("1")}, config={"env A": "1"}, whole=False)
    image = side(files={"/app/a": file("1"), "/etc/passwd": file("2")}, config={"env A": "1", "env PATH": "/bin"})
    assert not compare(spec, image, "/opt/env")
    assert not compare(image, spec, "/opt/env")
    changed = compare(spec, side(files={"/app/b": file("1")}, config={"env A": "2"}), "/opt/env")
    assert [each.path for each in changed.files] == ["/app/a", "/app/b"]
    assert [(each.name, each.before, each.after) for each in changed.config] == [("env A", "1", "2")]
    lock = compare(side(kind="lock", packages={"pip a": "1"}), image, "/opt/env")
    assert (lock.compared, [each.name for each in lock.packages]) == (("packages",), ["pip a"])


def test_sizes_are_those_of_equal_kinds() -> None:
    found = compare(side(sizes={"app": 1, "env": 5}), side(sizes={"app": 2, "env": 5}), "/opt/env")
    assert [(each.layer, each.before, each.after) for each in found.sizes] == [("app", 1, 2), ("in all", 6, 7)]
    assert compare(side(sizes={"app": 1}), side(kind="spec", sizes={"app": 2}), "/opt/env").sizes == ()


# --- images -----------------------------------------------------------------------------------------------------------


def layer(**files: str) -> bytes:
    """A layer as a tar; names have `__` for `/`, and `LINK:` content makes a link."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            if text.startswith("LINK:"):
                info.type, info.linkname = tarfile.SYMTYPE, text.removeprefix("LINK:")
                tar.addfile(info)
            else:
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
    return stream.getvalue()


def layout(folder: Path, *layers: bytes, **config: Any) -> str:
    """An image in a folder, as `oci:FOLDER`."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    document = config_of([digest_of(each) for each in layers], config=config)
    manifest = manifest_of(document, *((LAYER, each) for each in layers))
    for data in (*layers, document, manifest):
        (blobs / digest_of(data).removeprefix("sha256:")).write_bytes(data)
    entry = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest_of(manifest),
             "size": len(manifest)}  # fmt: skip
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"oci:{folder}"


def record(name: str, version: str, *sizes: int) -> dict[str, str]:
    rows = "".join(f"{number}.py,sha256=x,{size}\n" for number, size in enumerate(sizes))
    return {f"{SITE}/{name}-{version}.dist-info/RECORD".replace("/", "__"): rows}


def test_what_is_in_layers_together(tmp_path: Path) -> None:
    files = {"opt__env__conda-meta__zlib-1.3-h0_1.json": "{}", "a": "1", "dir__b": "2", "dir__c": "3", "gone__x": "4"}
    low = layer(**record("Num_Py", "2.5", 10, 20), **record("old", "1", 5), **files)
    high = layer(**{"dir__.wh..wh..opq": "", "dir__d": "5", ".wh.gone": "", "a": "LINK:b"},
                 **{f"{SITE}/.wh.old-1.dist-info".replace("/", "__"): ""})  # fmt: skip
    paths = [tmp_path / "low", tmp_path / "high"]
    for path, data in zip(paths, (low, high), strict=True):
        path.write_bytes(data)
    found = contents_of(paths)
    assert found.packages == (
        ImagePackage(name="num-py", version="2.5", manager="pip", size=30),
        ImagePackage(name="zlib", version="1.3", manager="conda"),
    )
    assert {path for path in found.files if not path.startswith("/opt/")} == {"/a", "/dir/d"}
    assert found.files["/a"].content == "link to b"


def tar_layer(path: Path, *members: tuple[str, str, str]) -> Path:
    """Write a layer of members in this order: name, kind, content or what it is a link to."""
    with tarfile.open(path, "w") as archive:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type = {"file": tarfile.REGTYPE, "folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE,
                         "twin": tarfile.LNKTYPE}[kind]  # fmt: skip
            info.linkname = text if kind in ("link", "twin") else ""
            info.size = len(text) if kind == "file" else 0
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def test_an_opaque_folder_hides_the_layers_below_and_not_its_own(tmp_path: Path) -> None:
    low = tar_layer(tmp_path / "low", ("d/old", "file", "1"))
    high = tar_layer(tmp_path / "high", ("d/+new", "file", "2"), ("d/.wh..wh..opq", "file", ""))
    assert set(contents_of([low, high]).files) == {"/d/+new"}


def test_what_takes_the_place_of_a_folder_takes_what_is_in_it_away(tmp_path: Path) -> None:
    low = tar_layer(tmp_path / "low", ("x/a", "file", "1"), ("y", "file", "2"), ("z/b", "file", "3"))
    high = tar_layer(tmp_path / "high", ("x", "link", "z"), ("y", "folder", ""), ("y/inner", "file", "4"))
    assert set(contents_of([low, high]).files) == {"/x", "/y/inner", "/z/b"}


def test_a_further_name_of_a_file_has_its_content(tmp_path: Path) -> None:
    same = [
        contents_of([tar_layer(tmp_path / "copies", ("a", "file", "1"), ("b", "file", "1"))]),
        contents_of([tar_layer(tmp_path / "twins", ("a", "file", "1"), ("b", "twin", "a"))]),
        contents_of([tar_layer(tmp_path / "other", ("b", "file", "1"), ("a", "twin", "./b"))]),
        contents_of([tar_layer(tmp_path / "1", ("a", "file", "1")), tar_layer(tmp_path / "2", ("b", "twin", "a"))]),
    ]
    assert [found.files for found in same] == [same[0].files] * 4
    assert len({entry.content for entry in same[0].files.values()}) == 1


def test_a_layer_that_is_damaged_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(layer(a="x" * 5000)[:3000])
    with pytest.raises(ContextError, match="the layer cut cannot be read"):
        contents_of([tmp_path / "cut"])


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base = layer(etc__os="debian", **record("same", "1", 1))
    old = layout(tmp_path / "old", base, layer(**record("numpy", "2.5", 10), app="1"), Env=["A=1", "B=2"], User="1")
    new = layout(tmp_path / "new", base, layer(**record("numpy", "2.6", 10), app="2"), Env=["A=1", "B=3"], User="1")
    return old, new


def test_two_images(images: tuple[str, str]) -> None:
    lines = run("diff", *images).splitlines()
    assert lines == [
        "packages:",
        "    numpy 2.5 -> 2.6",
        "files:",
        "    /app  1 B, other content",
        "    2 files of packages (--files names them)",
        "configuration:",
        "    env B: 2 -> 3",
    ]
    data = json.loads(run("diff", *images, "--format", "json", "--files"))
    assert (len(data["files"]), data["package_files"]) == (3, 0)
    assert data["compared"] == ["packages", "files", "configuration", "sizes"]
    assert run("diff", images[0], images[0]) == ""


def test_inspect_lists_packages(images: tuple[str, str]) -> None:
    assert run("inspect", images[0], "--packages").splitlines()[-3:] == [
        "  packages  2", "         10 B  numpy 2.5", "          1 B  same 1",
    ]  # fmt: skip
    (image,) = json.loads(run("inspect", images[0], "--packages", "--format", "json"))["images"]
    assert image["packages"][0] == {"name": "numpy", "version": "2.5", "manager": "pip", "size": 10}
    assert [each["files"] for each in image["layers"]] == [None, None]
    (image,) = json.loads(run("inspect", images[0], "--format", "json"))["images"]
    assert image["packages"] is None


def test_inspect_says_whom_it_asked(images: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    known = inspect_image(images[0], ContentStore(), {})
    assert known.origin == "file"
    assert "\nof " not in run("inspect", images[0])
    for origin, says in (("engine", "the engine (NAME@sha256:… asks the registry)"), ("registry", "its registry")):
        found = msgspec.structs.replace(known, origin=origin)
        monkeypatch.setattr("packager.steps.inspect.inspect", lambda *_, found=found, **__: found)
        assert run("inspect", "x:1").splitlines()[1] == f"of          {says}"


# --- specs and locks --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, checkout: Path) -> Path:
    return Path(shutil.copytree(checkout / "examples/diabetes", tmp_path / "diabetes"))


def test_two_specs_and_a_lock(folder: Path, checkout: Path) -> None:
    spec, script = folder / "packager.yaml", folder / "src/score.py"
    spec.write_text(spec.read_text().replace("LOG_LEVEL: info", "LOG_LEVEL: debug"))
    script.write_text(script.read_text() + "# more\n")
    original = str(checkout / "examples/diabetes")
    found = diff(original, str(spec))
    assert [each.path for each in found.files] == ["/var/azureml-app/score.py"]
    assert [each.name for each in found.config] == ["env LOG_LEVEL"]
    assert [each.layer for each in found.sizes] == ["app from src", "in all"]
    assert not found.packages
    assert not diff(str(folder), str(folder / "packager.lock"))
    requirements = folder / "locks/cpu.requirements.txt"
    requirements.write_text(requirements.read_text().replace("numpy==", "numpy==1!"))
    (change,) = diff(str(checkout / "examples/diabetes/packager.lock"), str(requirements)).packages
    assert (change.name, change.after) == ("pip numpy", f"1!{change.before}")


def test_a_spec_and_an_image(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plan = packager.plan_image(load_spec(folder), "cpu").plan
    env = [f"{name}={value}" for name, value in plan.config.env.items()]
    script = {"var__azureml-app__score.py": (folder / "src/score.py").read_text()}
    image = layout(tmp_path / "image", layer(etc__x="y", **script), Env=[*env, "OF_BASE=1"])
    found = diff(str(folder), image)
    paths = {each.path for each in found.files}
    assert "/etc/x" not in paths
    assert "/opt/packager/server.py" in paths
    assert "/var/azureml-app/score.py" not in paths
    assert not [each for each in found.config if each.name.startswith("env ")]
    assert {each.after for each in found.packages} == {None}
    assert found.sizes == ()


def test_an_edit_of_the_same_size_is_said_to_be_one(folder: Path, checkout: Path) -> None:
    script = folder / "src/score.py"
    script.write_text(script.read_text().replace("model", "modle", 1))
    done = CliRunner().invoke(cli, ["diff", str(checkout / "examples/diabetes"), str(folder)])
    (line,) = [each for each in done.output.splitlines() if "score.py" in each]
    assert line.endswith(f"/var/azureml-app/score.py  {human_size(script.stat().st_size)}, other content")


def test_another_base_is_one_difference(folder: Path, tmp_path: Path) -> None:
    labels = packager.plan_image(load_spec(folder), "cpu").plan.config.labels
    other = labels | {BASE_NAME_LABEL: "local/python:3.13", BASE_DIGEST_LABEL: "sha256:4"}
    found = diff(str(folder), layout(tmp_path / "image", layer(a="b"), Labels=other)).config
    (base,) = [each for each in found if "base" in each.name]
    assert (base.name, base.after) == ("base", "local/python:3.13@sha256:4")
    assert base.before == f"{labels[BASE_NAME_LABEL]}@{labels[BASE_DIGEST_LABEL]}"
    assert not [each for each in found if each.name.startswith("label ")]


def test_what_is_nothing_of_these(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="there is neither a"):
        diff(str(tmp_path), str(folder))
    with pytest.raises(UsageError, match="is the lock of cpu"):
        diff(str(folder / "packager.lock"), str(folder / "packager.lock"), target="gpu")
    for name, error in (("not/packager.lock", LockError), ("not.yaml", SpecError)):
        with pytest.raises(error, match=f"{tmp_path}/{name}"):
            diff(f"{tmp_path}/{name}", str(folder))
