from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from packager.context import walk
from packager.context.archive import archive
from packager.context.save import save
from packager.context.sources import scan_sources
from packager.errors import ContextError
from packager.plan.trees import Sources
from packager.spec.load import SpecFile
from packager.storage.models import Store
from tests.unit import context_factory as factory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A spec without models whose source directory is its own folder."""
    folder = tmp_path / "project"
    factory.write_files(folder, {"score.py": factory.SCORE})
    return folder


def scan(root: Path, **options: Any) -> Sources:
    return factory.scan(factory.write_spec(root, **{"source_dir": ".", "models": (), **options}))


def paths(sources: Sources) -> list[str]:
    return [file.path for file in sources.app.files]


def refused(root: Path, match: str, **options: Any) -> ContextError:
    with pytest.raises(ContextError, match=match) as caught:
        scan(root, **options)
    assert caught.value.exit_code == 6
    return caught.value


# --- what is packaged -------------------------------------------------------------------------------------------------


def test_files_with_digest_size_mode_and_origin(tmp_path: Path) -> None:
    sources = factory.scan(factory.write_project(tmp_path))
    assert paths(sources) == ["lib/run.sh", "lib/tool.py", "score.py", "ünï/Ω.txt"]
    assert sources.app.folders == ("data", "lib", "ünï")
    run = sources.app.files[0]
    assert (run.size, run.mode, run.origin) == (10, 0o755, "src/lib/run.sh")
    assert run.digest == factory.read_digest(tmp_path / "src/lib/run.sh")[0]
    assert sources.app.files[1].mode == 0o644
    assert sources.left_out == ()


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444, 0o700, 0o555, 0o010])
def test_modes_are_two(root: Path, mode: int) -> None:
    (root / "score.py").chmod(mode)
    assert scan(root).app.files[0].mode == (0o755 if mode & 0o111 else 0o644)


def test_a_large_file_is_read_in_parts(root: Path) -> None:
    (root / "big").write_bytes(os.urandom(3 << 20))
    file = scan(root).app.files[0]
    assert (file.digest, file.size) == factory.read_digest(root / "big")


def test_always_left_out(root: Path) -> None:
    factory.write_files(
        root,
        {
            **{
                f"{name}/x": "" for name in (".git", ".hg", ".svn", "__pycache__", ".ipynb_checkpoints", ".tox", ".nox")
            },
            **{f"pkg/{name}/x": "" for name in (".mypy_cache", ".ruff_cache", ".pytest_cache", "__pycache__")},
            **dict.fromkeys(("a.pyc", "pkg/b.pyo", ".DS_Store", ".env", "pkg/.env", "pkg/.dockerignore"), ""),
            "env/pyvenv.cfg": "home = /usr/bin\n",
            "env/lib/site.py": "",
            "packager.lock": "{}",
            "locks/cpu.requirements.txt": "",
            ".x.packager-ab12cd3_/Dockerfile": "",
            "pkg/kept.py": "",
            ".gitignore": "",
            "a.py.c": "",
        },
    )
    sources = scan(root)
    assert paths(sources) == [".gitignore", "a.py.c", "pkg/kept.py", "score.py"]
    assert ".git/" in sources.left_out
    assert "env/" in sources.left_out
    assert "locks/" in sources.left_out
    assert "packager.yaml" in sources.left_out
    assert "pkg/.env" in sources.left_out
    assert not [path for path in sources.left_out if path.startswith(".git/") and path != ".git/"]
    assert list(sources.left_out) == sorted(sources.left_out)


def test_an_exception_of_the_user_does_not_bring_secrets_back(root: Path) -> None:
    factory.write_files(root, {".dockerignore": "!.env\n!.git\n", ".env": "PASSWORD=x", ".git/config": ""})
    assert paths(scan(root)) == ["score.py"]


def test_dockerignore_with_exceptions(root: Path) -> None:
    factory.write_files(
        root,
        {
            ".dockerignore": "data\n!data/keep/*.txt\n*.log\n",
            "data/keep/a.txt": "",
            "data/keep/b.bin": "",
            "data/keep/deep/c.txt": "",
            "data/other/d.txt": "",
            "data/empty/": "",
            "x.log": "",
        },
    )
    sources = scan(root)
    assert paths(sources) == ["data/keep/a.txt", "score.py"]
    assert sources.app.folders == ("data", "data/keep")
    assert set(sources.left_out) == {
        *(".dockerignore", "packager.yaml", "x.log", "data/empty/", "data/other/"),
        *("data/keep/b.bin", "data/keep/deep/"),
    }


def test_dockerignore_is_the_one_in_the_source_directory(root: Path) -> None:
    factory.write_files(root, {".dockerignore": "*", "src/score.py": "", "src/x": "", "src/.dockerignore": "x"})
    assert paths(scan(root, source_dir="src")) == ["score.py"]


@pytest.mark.parametrize(
    ("content", "problem"), [(b"\xff\xfe", "not UTF-8"), (b"a\n[", "not valid"), (b"a\n" * (1 << 19), "larger than")]
)
def test_bad_dockerignore(root: Path, content: bytes, problem: str) -> None:
    (root / ".dockerignore").write_bytes(content)
    refused(root, problem)


def test_dockerignore_that_is_no_file_does_not_hang(root: Path) -> None:
    os.mkfifo(root / ".dockerignore")
    refused(root, "not a regular file")


def test_models_are_not_packaged_twice(root: Path) -> None:
    factory.write_files(root, {"models/a.bin": "a", "models/net/w": "w", "models/README": "r", "top.bin": "t"})
    sources = scan(root, models=("models/a.bin", "./models/net/", "top.bin"))
    assert paths(sources) == ["models/README", "score.py"]
    assert set(sources.left_out) == {"models/a.bin", "models/net/", "packager.yaml", "top.bin"}


def test_spec_and_lock_elsewhere_hide_nothing_of_the_source_directory(root: Path) -> None:
    factory.write_files(root, {"src/score.py": "", "src/packager.lock": "", "src/locks/x": "", "src/packager.yaml": ""})
    assert paths(scan(root, source_dir="src")) == ["locks/x", "packager.lock", "packager.yaml", "score.py"]


def test_saved_contexts_and_archives_are_left_out_and_change_nothing(root: Path, tmp_path: Path) -> None:
    spec_file = factory.write_spec(root, source_dir=".", models=())
    before = factory.scan(spec_file)
    context = factory.context(spec_file)
    store = Store(tmp_path / "store")
    save(context, root, root / "out/context", store)
    archive(context, root, root / "out/context.tar.gz", store)
    after = factory.scan(spec_file)
    assert after.app == before.app
    assert set(after.left_out) - set(before.left_out) == {"out/context/", "out/context.tar.gz"}


def test_what_only_looks_like_a_saved_context_is_packaged(root: Path) -> None:
    factory.write_files(root, {"a/packager.json": '{"format": "other"}', "b.tar": "text", "c.tar.gz": b"\x1f\x8b"})
    (root / "d.tar").symlink_to("b.tar")
    assert paths(scan(root)) == ["a/packager.json", "b.tar", "c.tar.gz", "d.tar", "score.py"]


def test_an_empty_folder_is_kept_and_one_that_was_emptied_is_not(root: Path) -> None:
    factory.write_files(root, {"empty/": "", "caches/__pycache__/x.pyc": "", "deep/er/": ""})
    assert scan(root).app.folders == ("deep", "deep/er", "empty")


def test_order_of_creation_and_locale_do_not_matter(tmp_path: Path) -> None:
    names = ["b", "B", "a", "ä", "_", "z/1", "Z", "é", "10", "9"]
    trees = []
    for number, ordered in enumerate((names, names[::-1])):
        folder = tmp_path / str(number)
        factory.write_files(folder, dict.fromkeys(ordered, "x"))
        trees.append(scan(folder).app)
    assert trees[0] == trees[1]
    assert [file.path for file in trees[0].files] == sorted(names)


# --- models -----------------------------------------------------------------------------------------------------------


def test_model_trees_have_one_top_entry(tmp_path: Path) -> None:
    sources = factory.scan(factory.write_project(tmp_path))
    file, folder = sources.models
    assert [(each.path, each.mode, each.origin) for each in file.files] == [("m.bin", 0o444, "models/m.bin")]
    assert file.folders == ()
    assert [each.path for each in folder.files] == ["net/parts/a/b.json", "net/weights.bin"]
    assert [each.origin for each in folder.files] == ["models/net/parts/a/b.json", "models/net/weights.bin"]
    assert folder.folders == ("net", "net/none", "net/parts", "net/parts/a")


def test_models_are_digested_by_the_caller(tmp_path: Path) -> None:
    spec_file = factory.write_project(tmp_path)
    asked: list[Path] = []

    def digest(path: Path, below: bytes) -> tuple[str, int]:
        assert below == os.path.realpath(os.fsencode(tmp_path))
        asked.append(path)
        return "d" * 64, 7

    sources = scan_sources(spec_file, digest)
    assert sorted(asked) == [
        tmp_path / each for each in ("models/m.bin", "models/net/parts/a/b.json", "models/net/weights.bin")
    ]
    assert sources.models[0].files[0].digest == "d" * 64
    assert sources.models[0].size == 7


def test_model_folders_are_taken_whole(root: Path) -> None:
    factory.write_files(root, {".dockerignore": "net", "net/.dockerignore": "*", "net/.env": "x", "net/a.pyc": "y"})
    sources = scan(root, models=("net",))
    assert [file.path for file in sources.models[0].files] == ["net/.dockerignore", "net/.env", "net/a.pyc"]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("missing.bin", "is not there"),
        ("empty.bin", "is empty"),
        ("empties", "is empty"),
        ("nothing", "is empty"),
        (".", "not this folder"),
    ],
)
def test_missing_and_empty_models(root: Path, path: str, problem: str) -> None:
    factory.write_files(root, {"empty.bin": "", "empties/a/b": "", "nothing/": ""})
    error = refused(root, problem, models=(path,))
    assert error.where is not None
    assert error.where.field == "models[0].path"
    assert error.where.line == 7


def test_a_model_that_cannot_be_read_as_a_file(root: Path) -> None:
    os.mkfifo(root / "pipe")
    refused(root, "not a regular file", models=("pipe",))
    factory.write_files(root, {"net/w": "w"})
    os.mkfifo(root / "net/pipe")
    refused(root, "net/pipe is a named pipe", models=("net",))


# --- source_dir -------------------------------------------------------------------------------------------------------


def test_bad_source_directories(root: Path) -> None:
    error = refused(root, "'none' is not there", source_dir="none")
    assert str(error.where).endswith("packager.yaml:4 (source_dir)")
    refused(root, "is not a folder", source_dir="score.py")
    factory.write_files(root, {"net/src/score.py": "x"})
    refused(root, "is in the model", source_dir="net/src", models=("net",))
    refused(root, "is in the model", source_dir="net", models=("net",))


# --- links and special files ------------------------------------------------------------------------------------------


def test_links_that_stay_inside_become_what_they_lead_to(root: Path) -> None:
    factory.write_files(root, {"shared/lib/util.py": "U", "src/score.py": ""})
    (root / "src/util.py").symlink_to("../shared/lib/util.py")
    (root / "src/lib").symlink_to(root / "shared/lib")
    sources = scan(root, source_dir="src")
    assert paths(sources) == ["lib/util.py", "score.py", "util.py"]
    assert [file.origin for file in sources.app.files] == ["src/lib/util.py", "src/score.py", "src/util.py"]
    assert sources.app.files[0].digest == sources.app.files[2].digest


@pytest.mark.parametrize(
    ("name", "target", "problem"),
    [
        ("out", "/etc/hostname", "leaves the folder"),
        ("out", "../outside", "leaves the folder"),
        ("out", "..", "leaves the folder"),
        ("out", "none", "leads nowhere"),
        ("out", "out", "leads nowhere"),
        ("pkg/up", "..", "folder that holds it"),
        ("pkg/self", ".", "folder that holds it"),
    ],
)
@pytest.mark.parametrize("kind", ["source", "model"])
def test_bad_links_name_link_and_target(root: Path, name: str, target: str, problem: str, kind: str) -> None:
    factory.write_files(root, {"../outside": "x", "net/pkg/w": "w", "pkg/x": ""})
    link = root / ("net" if kind == "model" else "") / name
    if kind == "model" and target == "../outside":
        target = "../../outside"
    elif kind == "model" and target == ".." and problem == "leaves the folder":
        target = "../.."
    link.symlink_to(target)
    error = refused(root, problem, models=("net",))
    assert f"{link} -> {target}" in error.message


@pytest.mark.parametrize("kind", ["source", "model"])
def test_a_folder_whose_name_begins_as_the_specs_is_outside(root: Path, kind: str) -> None:
    factory.write_files(root, {"../project-private/key": "secret", "net/w": "w"})
    folder = root / "net" if kind == "model" else root
    (folder / "out").symlink_to(root.with_name("project-private") / "key")
    refused(root, "leaves the folder", models=("net",))


def test_a_link_to_a_folder_whose_name_its_own_begins_with_is_no_circle(root: Path) -> None:
    factory.write_files(root, {"pkg/x": "x", "pkg-more/y": "y"})
    (root / "pkg-more" / "link").symlink_to("../pkg")
    assert "pkg-more/link/x" in paths(scan(root))


def test_links_to_one_another_end(root: Path) -> None:
    factory.write_files(root, {"a/x": "", "b/y": ""})
    (root / "a/b").symlink_to("../b")
    (root / "b/a").symlink_to("../a")
    refused(root, "folder that holds it")


def test_folders_of_links_do_not_multiply_for_ever(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MAX_FILES", 1000)
    factory.write_files(root, {"level30/x": ""})
    for level in range(30):
        (root / f"level{level}").mkdir()
        for name in "ab":
            (root / f"level{level}" / name).symlink_to(f"../level{level + 1}")
    refused(root, "more than 1000 files|Too many levels of symbolic links")  # whichever limit comes first


def test_a_link_that_is_left_out_may_lead_anywhere(root: Path) -> None:
    (root / "out").symlink_to("/etc")
    factory.write_files(root, {".dockerignore": "out"})
    assert "out" in scan(root).left_out


@pytest.mark.parametrize(("source_dir", "model"), [("link", "m"), ("link/sub", "m"), (".", "link/sub/score.py")])
def test_paths_of_the_spec_through_links_out_of_its_folder(
    root: Path, tmp_path: Path, source_dir: str, model: str
) -> None:
    factory.write_files(tmp_path / "outside", {"score.py": "x", "sub/score.py": "x"})
    factory.write_files(root, {"m": "m"})
    (root / "link").symlink_to(tmp_path / "outside")
    refused(root, "leaves the folder", source_dir=source_dir, models=(model,))


def test_the_folder_of_the_spec_may_be_reached_by_a_link(root: Path, tmp_path: Path) -> None:
    factory.write_files(root, {"m/w": "w"})
    factory.write_spec(root, source_dir=".", models=("m",))
    (root / "l").symlink_to("score.py")
    (tmp_path / "alias").symlink_to(root)
    expected = scan(root, models=("m",))
    assert scan(tmp_path / "alias", models=("m",)) == expected


def test_special_files_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "pipe")
    refused(root, r"pipe is a named pipe")
    (root / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        # The address of a socket is short; the folders of tests are not.
        monkeypatch.chdir(root)
        server.bind("sock")
        refused(root, r"sock is a socket")
    (root / "sock").unlink()
    (root / "p").mkdir()
    os.mkfifo(root / "p/pipe")
    (root / "link").symlink_to("p/pipe")
    factory.write_files(root, {".dockerignore": "p"})
    refused(root, r"link is a named pipe")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device files")
def test_devices_are_named(root: Path) -> None:
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    refused(root, r"null is a device")


@pytest.mark.parametrize(
    "name", [b"bad\xff", b"new\nline", b"tab\t", b"del\x7f", "nel\x85".encode(), "ls\u2028".encode()]
)
def test_names_that_are_not_plain_text(root: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(root), name)
    with open(path, "wb"):
        pass
    error = refused(root, "not plain UTF-8 text")
    error.message.encode()
    factory.write_files(root, {"net/w": "w"})
    os.rename(path, os.path.join(os.fsencode(root), b"net", name))
    refused(root, "not plain UTF-8 text", models=("net",))
    # Left out, it may be called as it likes.
    factory.write_files(root, {".dockerignore": "net"})
    assert "net/" in scan(root).left_out


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root reads everything; the others cannot read what they may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["score.py", "closed"])
def test_unreadable_files_and_folders(name: str) -> None:
    # Not in pytest's own folder, which is closed to all but its owner.
    with tempfile.TemporaryDirectory() as temporary:
        root = factory.write_files(Path(temporary), {"score.py": "", "closed/x": ""})
        root.chmod(0o755)
        spec_file: SpecFile = factory.write_spec(root, source_dir=".", models=())
        (root / name).chmod(0)
        with as_nobody(), pytest.raises(ContextError, match=f"{name} cannot be read: Permission denied"):
            factory.scan(spec_file)
        (root / name).chmod(0o755)


def test_a_file_that_changes_while_it_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        data = real(descriptor, size)
        if b"def init" in data:
            (root / "score.py").write_text("other")
        return data

    spec_file = factory.write_spec(root, source_dir=".", models=())
    monkeypatch.setattr(os, "read", read)
    with pytest.raises(ContextError, match=r"score\.py changed while it was read"):
        factory.scan(spec_file)
