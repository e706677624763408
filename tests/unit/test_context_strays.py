"""What lies about in people's folders and belongs in no image."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from packager.checks.secrets import secret_findings
from packager.context.sources import list_models, scan_sources, withheld
from packager.deployment.record import Record, Shipped, record_text
from packager.errors import ContextError
from packager.oci.outputs import write_docker_archive, write_layout, write_oci_archive
from packager.oci.values import LAYER, Descriptor, Image, Layer
from packager.storage.content import ContentStore
from packager.storage.models import Store
from packager.storage.reading import digest_file, opened
from tests.unit import context_factory as factory
from tests.unit.test_sources import paths, refused, root, scan

__all__ = ["root"]

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n"


def make_tar(path: Path, names: tuple[str, ...]) -> None:
    with tarfile.open(path, "w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())


# --- what packager and others wrote -----------------------------------------------------------------------------------


def test_images_that_were_written_into_the_source_directory_are_left_out(root: Path, tmp_path: Path) -> None:
    before = scan(root).app
    content = ContentStore(tmp_path / "content")
    data = b"x" * 20_000
    blob = Descriptor(media_type=LAYER, digest=content.put_bytes(data), size=len(data))
    layers = (Layer(blob=blob, diff_id=blob.digest, title="t"),)
    image = Image(platform="linux/amd64", manifest=b"{}", config=b"{}", layers=layers)
    write_layout([image], ["demo:1"], root / "out/anything", content)
    write_oci_archive([image], ["demo:1"], root / "an.image", content)
    write_docker_archive(image, ["demo:1"], root / "deep/saved", content)
    factory.write_files(root, {"meta.json": '{\n  "containerimage.digest": "sha256:00"\n}'})
    sources = scan(root)
    assert sources.app == before
    assert {"out/anything/", "an.image", "deep/saved", "meta.json"} <= set(sources.left_out)


def test_files_of_a_deployment_are_left_out_with_the_keys_beside_them(root: Path) -> None:
    before = scan(root).app
    shipped = (Shipped(image="demo@sha256:0", version="1"),)
    record = record_text(Record(format="packager.deploy/1", platform="compose", name="demo", images=shipped))
    factory.write_files(root, {"deploy/compose/.packager-deploy.json": record, "deploy/compose/secrets/keys": "a" * 64})
    sources = scan(root)
    assert sources.app == before
    assert "deploy/compose/" in sources.left_out


def test_the_tar_of_an_old_docker_save(root: Path) -> None:
    make_tar(root / "old.tar", (f"{'a' * 64}/layer.tar", f"{'b' * 64}.json", "manifest.json", "repositories"))
    make_tar(root / "data.tar", ("manifest.json", "pictures/1.png"))
    assert paths(scan(root)) == ["data.tar", "score.py"]


@pytest.mark.parametrize("name", ["XDG_DATA_HOME", "XDG_STATE_HOME"])
def test_what_packager_keeps_inside_is_no_part_of_an_image(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    factory.write_files(root, {"own/packager/services/a": "", "own/theirs": ""})
    monkeypatch.setenv(name, str(root / "own"))
    assert paths(scan(root)) == ["own/theirs", "score.py"]


@pytest.mark.parametrize("name", ["XDG_CACHE_HOME", "UV_CACHE_DIR", "PIP_CACHE_DIR", "PRE_COMMIT_HOME"])
def test_caches_that_a_variable_keeps_inside(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    factory.write_files(root, {"build/own/wheels/a.whl": "", "build/kept": ""})
    monkeypatch.setenv(name, str(root / "build/own"))
    assert paths(scan(root)) == ["build/kept", "score.py"]


def test_a_cache_folder_that_is_the_project_itself(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factory.write_files(root, {"uv/a": "", "packager/store/b": "", "mine/c": ""})
    monkeypatch.setenv("XDG_CACHE_HOME", str(root))
    assert paths(scan(root)) == ["mine/c", "score.py"]
    (root / "src").mkdir()
    (root / "src/score.py").touch()
    assert paths(scan(root, source_dir="src")) == ["score.py"]


def test_folders_that_are_tagged_as_caches(root: Path) -> None:
    tag = "Signature: 8a477f597d28d172789f06886806bc55\n# by a program\n"
    factory.write_files(root, {"a/CACHEDIR.TAG": tag, "a/b/c": "", "d/CACHEDIR.TAG": "mine", "d/e": ""})
    assert paths(scan(root)) == ["d/CACHEDIR.TAG", "d/e", "score.py"]


@pytest.mark.parametrize(
    ("names", "image"),
    [
        (("blobs/", "blobs/sha256/", f"blobs/sha256/{'0a' * 32}"), True),
        ((f"{'0a' * 32}/", f"{'0a' * 32}/VERSION"), True),
        (("oci-layout", "index.json"), True),
        (("data/", "data/train.csv", "manifest.json"), False),
        ((), False),
    ],
)
def test_an_image_that_was_saved_and_compressed_is_left_out(root: Path, names: tuple[str, ...], image: bool) -> None:
    with tarfile.open(root / "a.tar.gz", "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name.rstrip("/"))
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.size = 0 if name.endswith("/") else 200_000
            archive.addfile(member, io.BytesIO(os.urandom(member.size)))
    (root / "b.gz").write_bytes(gzip.compress(b"a,b\n"))
    (root / "c.gz").write_bytes(b"\x1f\x8bno gzip")
    kept = paths(scan(root))
    assert kept == (["b.gz", "c.gz", "score.py"] if image else ["a.tar.gz", "b.gz", "c.gz", "score.py"])


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *(".ssh/id_rsa", ".aws/credentials", ".kube/config", ".azure/x", ".netrc", ".git-credentials", ".pypirc"),
        *(
            ".docker/config.json",
            ".npmrc",
            "pip.conf",
            ".env.production",
            "sub/.env.local",
            "id_ed25519",
            "kaggle.json",
        ),
        *("certs/server.key", "sub/client.pem", "a/.ssh/deep/known"),
        *("deploy_key", "backup/id_rsa.old", "ops/id_vpn.txt", "prod.env", "docker/Web.env", ".envrc", "kubeconfig"),
        *("infra/prod.tfvars", "terraform.tfstate", "local.settings.json", ".streamlit/secrets.toml", "rclone.conf"),
        *(".databricks/token-cache.json", ".condarc", "ci/admin.kubeconfig"),
    ],
)
def test_secrets_are_left_out_and_said(root: Path, path: str) -> None:
    factory.write_files(root, {path: KEY, "kept.txt": ""})
    assert paths(scan(root)) == ["kept.txt", "score.py"]
    (said,) = withheld(factory.write_spec(root, source_dir=".", models=()))
    assert scan(root).secrets == (said,)
    assert f"{path}/".startswith(said if said.endswith("/") else f"{said}/")


@pytest.mark.parametrize(
    "path",
    [
        ".env.example",
        "certs/ca.pem",
        "docker/config.json",
        "keys.py",
        "ssh/notes",
        "a.key",
        "config.json",
        "example.env",
        ".env.sample",
        "x.environ",
        "streamlit/secrets.toml",
        "notes.tfvars.md",
        "terraform.txt",
    ],
)
def test_what_only_sounds_like_a_secret_is_packaged(root: Path, path: str) -> None:
    factory.write_files(root, {path: "-----BEGIN CERTIFICATE-----\n"})
    assert path in paths(scan(root))


def test_what_talks_of_a_key_is_none(root: Path) -> None:
    factory.write_files(root, {"README.md": f"As follows:\n\n{KEY}", "weights.bin": f"{KEY}{'x' * (32 << 10)}"})
    assert paths(scan(root)) == ["README.md", "score.py", "weights.bin"]


STRAYS = (
    *(
        ".idea/w.xml",
        ".vscode/settings.json",
        ".bash_history",
        ".history/a.py",
        "Thumbs.db",
        "score.py~",
        ".score.py.swp",
    ),
    *("#score.py#", "web/node_modules/a/i.js", ".terraform/x", ".dvc/cache/ab/cd", "htmlcov/i.html", ".coverage"),
    *("mlruns/0/a/artifacts/model/model.pkl", "wandb/run-1/x", "lightning_logs/version_0/e.ckpt"),
    *("myenv/conda-meta/history", "myenv/bin/python", "myenv/lib/x.py"),
)


def test_what_editors_shells_and_trackers_leave_is_left_out_unless_asked_for(root: Path) -> None:
    kept = {"bin/tool": "", "conda-meta.md": "", "data~1.csv": "", "history/a.py": ""}
    factory.write_files(root, kept | dict.fromkeys(STRAYS, ""))
    assert paths(scan(root)) == [*sorted(kept), "score.py"]
    (root / ".dockerignore").write_text("!web/node_modules\n")
    assert "web/node_modules/a/i.js" in paths(scan(root))


def test_exceptions_with_wildcards_bring_no_secret_back_that_they_do_not_match(root: Path) -> None:
    factory.write_files(root, {".dockerignore": "*\n!**/*.py\n!.aws/notes\n", ".aws/credentials": "", ".aws/notes": ""})
    assert paths(scan(root)) == [".aws/notes", "score.py"]


def test_who_asks_for_a_secret_by_name_gets_it(root: Path) -> None:
    factory.write_files(root, {".dockerignore": "!certs/test.key\n", "certs/test.key": KEY, "certs/other.key": KEY})
    assert paths(scan(root)) == ["certs/test.key", "score.py"]


@pytest.mark.parametrize("text", ["open('certs/client.key')", "Path(HERE) / 'client.key'", "x = './certs/client.key'"])
def test_a_script_that_needs_a_secret_is_an_error(root: Path, text: str) -> None:
    factory.write_files(root, {"certs/client.key": KEY, "tool.py": f"import os\n{text}\n"})
    error = refused(root, r"tool\.py names 'certs/client\.key'")
    assert error.where is not None
    assert error.where.line == 2
    assert "!certs/client.key" in str(error.remedy)


def test_a_script_that_reads_an_environment_file_where_it_is_there(root: Path) -> None:
    factory.write_files(root, {".env.local": "A=1", "tool.py": "load_dotenv('.env.local')\n"})
    assert paths(scan(root)) == ["score.py", "tool.py"]


def test_keys_and_tokens_inside_packaged_files_are_told_without_their_text(tmp_path: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    files = {
        "src/score.py": f"import os\nTOKEN = '{token}'\n",
        "src/service.json": '{"private_key": "-----BEGIN PRIVATE KEY-----\\nMII"}',
        "src/fine.py": "KEY = os.environ['KEY']  # ghp_short, -----BEGIN PUBLIC KEY-----\n",
        "models/m.bin": "AKIA" + "A" * 16,
    }
    factory.write_files(tmp_path, files)
    spec_file = factory.write_spec(tmp_path)
    found = list(secret_findings(factory.plan(spec_file), tmp_path))
    assert [(each.file, each.line) for each in found] == [
        ("models/m.bin", 1),
        ("src/score.py", 2),
        ("src/service.json", 1),
    ]
    assert "GitHub token" in found[1].message
    assert token not in str(found)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKE\n", "AWS secret key"),
        ('"clientSecret": "Abc8Q~abcdefghijklmnopqrstuvwxyz01234567"', "Azure client secret"),
        (
            "URL = 'https://a.blob.core.windows.net/c?sp=r&sig=abcDEFghiJKLmnoPQRstu%2Bvwx%3D'",
            "Azure shared access sign",
        ),
        ("Endpoint=sb://a/;SharedAccessKey=" + "a1B2" * 10 + "a1B=", "Azure shared access key"),
        ("TOKEN = 'dapi" + "0a" * 16 + "'", "Databricks token"),
        ("DB = 'mssql+pyodbc://sa:Passw0rd!@db.example.com/x'", "password in a URL"),
    ],
)
def test_more_forms_of_secrets(tmp_path: Path, text: str, what: str) -> None:
    factory.write_files(tmp_path, {"src/score.py": f"import os\n{text}\n", "models/m.bin": "x"})
    found = list(secret_findings(factory.plan(factory.write_spec(tmp_path)), tmp_path))
    assert [each.line for each in found] == [2]
    assert what in found[0].message


@pytest.mark.parametrize(
    "text",
    [
        *(
            "postgresql://user:{password}@db/x",
            "mysql://u:$PASSWORD@db",
            "redis://u:password@db",
            "amqp://u:pass1@localhost",
        ),
        *(
            "https://user:hunter22@example.com",
            "?sig=short%3D",
            "SharedAccessKey=<key>=",
            "aws_secret_access_key = os.x",
        ),
    ],
)
def test_marks_and_examples_are_no_secrets(tmp_path: Path, text: str) -> None:
    factory.write_files(tmp_path, {"src/score.py": f'X = "{text}"\n', "models/m.bin": "x"})
    assert list(secret_findings(factory.plan(factory.write_spec(tmp_path)), tmp_path)) == []


def test_every_kind_of_secret_in_a_file_is_told_and_so_are_key_stores(tmp_path: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    files = {"src/score.py": f"A = '{token}'\nB = '{token}'\nC = 'AKIA{'A' * 16}'\n", "models/m.bin": "x"}
    factory.write_files(tmp_path, files)
    (tmp_path / "src/client.pfx").write_bytes(b"\x30\x82\x01")
    (tmp_path / "src/client.jks").write_bytes(b"\xfe\xed\xfe\xed\0\0\0\2\0\0\0\1\0\0\0\1")
    (tmp_path / "src/trust.jks").write_bytes(b"\xfe\xed\xfe\xed\0\0\0\2\0\0\0\1\0\0\0\2")
    found = list(secret_findings(factory.plan(factory.write_spec(tmp_path)), tmp_path))
    told = [("client.jks", None), ("client.pfx", None), ("score.py", 1), ("score.py", 3)]
    assert sorted((str(each.file).removeprefix("src/"), each.line) for each in found) == told


# --- .dockerignore, links, names, pointers ----------------------------------------------------------------------------


def test_dockerignore_beside_the_spec_is_read_where_the_source_directory_has_none(root: Path) -> None:
    files = {"src/score.py": "", "src/data/big": "", "src/data/keep": "", "src/notes.md": "", "src/a/b.log": ""}
    factory.write_files(root, {".dockerignore": "src/data\n!src/data/keep\n*.md\n**/*.log\n", **files})
    sources = scan(root, source_dir="src")
    assert paths(sources) == ["data/keep", "notes.md", "score.py"]
    assert "a/b.log" in sources.left_out


def hub(folder: Path) -> Path:
    """A Hugging Face cache of one model."""
    top = folder / "models--a--b"
    factory.write_files(top, {"blobs/0a": "weights", "blobs/0b": "{}", "refs/main": "c0ffee"})
    (top / "snapshots/c0ffee").mkdir(parents=True)
    os.symlink("../../blobs/0a", top / "snapshots/c0ffee/model.safetensors")
    os.symlink("../../blobs/0b", top / "snapshots/c0ffee/config.json")
    return top


def test_a_hugging_face_cache_is_packaged_once(root: Path) -> None:
    hub(root / "hub")
    (tree,) = list_models(factory.write_spec(root, models=("hub/models--a--b",)))
    inside = "models--a--b/snapshots/c0ffee"
    assert [file.path for file in tree.files] == [
        "models--a--b/refs/main",
        f"{inside}/config.json",
        f"{inside}/model.safetensors",
    ]
    sources = scan(root, models=("hub/models--a--b/snapshots/c0ffee",))
    assert paths(sources) == ["score.py"]


@pytest.mark.parametrize("named", ["snapshots/c0ffee", "snapshots/c0ffee/model.safetensors"])
def test_what_a_hugging_face_cache_has_of_other_revisions_is_not_in_the_app(root: Path, named: str) -> None:
    top = hub(root / "hub")
    (top / "snapshots/decade").mkdir()
    os.symlink("../../blobs/0a", top / "snapshots/decade/model.safetensors")
    hub(root / "other")
    sources = scan(root, models=(f"hub/models--a--b/{named}",))
    inside = "other/models--a--b"
    assert paths(sources) == [
        *(f"{inside}/refs/main", f"{inside}/snapshots/c0ffee/config.json"),
        *(f"{inside}/snapshots/c0ffee/model.safetensors", "score.py"),
    ]
    assert "hub/models--a--b/" in sources.left_out


def test_blobs_of_others_are_packaged(root: Path) -> None:
    factory.write_files(root, {"net/blobs/a": "x", "net/other/b": "y"})
    (tree,) = list_models(factory.write_spec(root, models=("net",)))
    assert [file.path for file in tree.files] == ["net/blobs/a", "net/other/b"]


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"


@pytest.mark.parametrize("path", ["m.bin", "net/deep/w.safetensors", "data.csv"])
def test_pointers_of_git_lfs_are_refused(root: Path, path: str) -> None:
    factory.write_files(root, {path: POINTER})
    top = path.partition("/")[0]
    error = refused(root, "pointer of Git LFS", models=() if path.endswith(".csv") else (top,))
    assert "git lfs pull" in str(error.remedy)


@pytest.mark.parametrize("path", [".wh.x", "sub/.wh..wh..opq", ".wh.folder/file"])
def test_names_that_delete_in_a_layer_are_refused(root: Path, path: str) -> None:
    factory.write_files(root, {path: "text"})
    refused(root, r"means in a layer that .* is deleted")
    (root / ".dockerignore").write_text("**/.wh.*\n")
    assert paths(scan(root)) == ["score.py"]


# --- a writer that is faster ------------------------------------------------------------------------------------------


def test_a_file_that_becomes_a_link_to_the_outside_is_not_read(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_text("of another")
    inside = root / "data.txt"
    inside.write_text("harmless")
    assert digest_file(inside, os.fsencode(root)).size == 8
    # What a writer does between the walk, which saw a file, and its opening.
    inside.unlink()
    inside.symlink_to(outside)
    with pytest.raises(ContextError, match="leads out of"):
        digest_file(inside, os.fsencode(root))
    with pytest.raises(ContextError, match="leads out of"), opened(inside, os.fsencode(root)):
        pytest.fail("it was opened")
    inside.unlink()
    (root / "kept").write_text("x")
    inside.symlink_to("kept")
    assert digest_file(inside, os.fsencode(root)).size == 1


def test_a_folder_that_becomes_a_link_to_the_outside_is_not_read(root: Path, tmp_path: Path) -> None:
    factory.write_files(tmp_path, {"project-private/key": "of another", "project/sub/key": "x"})
    (root / "sub/key").unlink()
    (root / "sub").rmdir()
    (root / "sub").symlink_to("../project-private")
    with pytest.raises(ContextError, match="leads out of"):
        digest_file(root / "sub/key", os.fsencode(root))


@pytest.mark.parametrize("how", ["digest", "add", "known"])
@pytest.mark.parametrize("swapped", ["m/model.bin", "m"])
def test_a_model_that_is_another_file_while_it_is_read(root: Path, tmp_path: Path, how: str, swapped: str) -> None:
    outside, store = tmp_path / "outside", Store(tmp_path / "store")
    factory.write_files(tmp_path, {"outside/model.bin": "of another", "project/m/model.bin": "weights"})
    to = outside / "model.bin" if swapped.endswith(".bin") else outside

    def read_while_replaced(path: Path, below: bytes) -> tuple[str, int]:
        # Before and after, all is as it was: what is opened has to tell.
        (root / swapped).rename(root / "aside")
        (root / swapped).symlink_to(to)
        if how == "known":
            assert store.digest(path)[1] == len("of another")
        try:
            return store.add(path, below) if how == "add" else store.digest(path, below)
        finally:
            (root / swapped).unlink()
            (root / "aside").rename(root / swapped)

    spec_file = factory.write_spec(root, source_dir=".", models=("m",))
    with pytest.raises(ContextError, match="leads out of"):
        scan_sources(spec_file, read_while_replaced)
    assert not list(store.blobs.all())
    assert scan_sources(spec_file, store.add).models[0].size == len("weights")


def test_a_link_to_what_is_left_out_is_left_out_wherever_it_leads(root: Path, tmp_path: Path) -> None:
    """A virtual environment that several projects share, and a saved context."""
    factory.write_files(tmp_path, {"venv-of-all/pyvenv.cfg": "home = /usr\n", "venv-of-all/lib/a.py": ""})
    factory.write_files(tmp_path, {"layout/oci-layout": "{}", "layout/index.json": "{}"})
    (root / "venv").symlink_to(tmp_path / "venv-of-all")
    (root / "image").symlink_to(tmp_path / "layout")
    sources = scan(root)
    assert paths(sources) == ["score.py"]
    assert {"venv/", "image/"} <= set(sources.left_out)
    (root / "data").symlink_to(tmp_path)
    assert "leave it out by .dockerignore" in str(refused(root, "leaves the folder of the spec"))
