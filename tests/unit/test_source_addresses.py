from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from packager.errors import ContextError, UsageError
from packager.workspace.pulling import Pulled
from packager.workspace.sources import Fetched, Options, fetch, forget, is_address
from packager.workspace.sources.addresses import disposed_name, looks_like_html, parse_address, safe_name
from packager.workspace.sources.hub import HubAddress, HubFile, _bar, choose_files, is_of_commit, parse_hub
from packager.workspace.sources.mlflow_server import MlflowAddress, parse_mlflow
from packager.workspace.sources.places import give, place
from packager.workspace.sources.registry import fetch_reference
from packager.workspace.values import Content, Source, Version

SHA = "ab" * 32


# --- the web ----------------------------------------------------------------------------------------------------------


def test_what_an_address_says() -> None:
    found = parse_address(f"https://al%40ice:s3%2Fcret@example.com:8443/m/a%20b.pkl?v=2#sha256={SHA.upper()}")
    assert found.url == found.uri == "https://example.com:8443/m/a%20b.pkl?v=2"
    assert (found.user, found.password, found.sha256, found.name) == ("al@ice", "s3/cret", SHA, "a b.pkl")
    assert (found.host, "s3" in repr(found)) == ("example.com:8443", False)


@pytest.mark.parametrize(
    "query",
    [
        "sv=1&sig=hidden",
        "X-Amz-Signature=hidden&X-Amz-Date=1",
        "access_token=hidden",
        "a=1&Api-Key=hidden",
        "key=hidden",
    ],
)
def test_a_signed_address_is_kept_without_what_lets_one_in(query: str) -> None:
    found = parse_address(f"https://example.com/m.pkl?{query}")
    assert found.url.endswith(query)
    assert found.uri == "https://example.com/m.pkl"
    assert "hidden" not in repr(found)


@pytest.mark.parametrize("uri", ["https:///m", "https://h:x/m", "https://[/m", "https://h/a b", "https://h/\x1b"])
def test_what_is_no_address(uri: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        parse_address(uri)


@pytest.mark.parametrize("fragment", ["sha256=12", "md5=ab", "part", "sha256=" + "g" * 64])
def test_what_is_no_digest(fragment: str) -> None:
    with pytest.raises(UsageError, match=r"digest|sha256"):
        parse_address(f"https://h/m#{fragment}")


def test_two_digests_must_be_one() -> None:
    assert parse_address(f"https://h/m#sha256={SHA}", SHA).sha256 == SHA
    with pytest.raises(UsageError, match="two digests"):
        parse_address(f"https://h/m#sha256={SHA}", "cd" * 32)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="m.pkl"', "m.pkl"),
        ("attachment; filename*=UTF-8''m%20%C3%A9.pkl", "m é.pkl"),
        ('attachment; filename="../../etc/x"', "x"),
        ('attachment; filename="..\\\\x"', "x"),
        ('attachment; filename=".."', ""),
        ("attachment", ""),
        ("", ""),
    ],
)
def test_names_of_servers_are_names_only(header: str, name: str) -> None:
    assert disposed_name(header) == name


def test_names_that_no_file_has() -> None:
    assert [safe_name(each) for each in ("a/", "a/..", "x\ny", "é" * 200)] == [""] * 4


@pytest.mark.parametrize(
    ("kind", "start", "page"),
    [
        ("text/html; charset=utf-8", b"", True),
        ("application/octet-stream", b"\xef\xbb\xbf\n <!DOCTYPE HTML>", True),
        ("", b"<html lang=en>", True),
        ("application/xml", b"<?xml version='1.0'?><pmml>", False),
        ("text/plain", b"tree\nversion=v4", False),
    ],
)
def test_pages_for_people(kind: str, start: bytes, page: bool) -> None:
    assert looks_like_html(kind, start) is page


# --- the hub ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("hf://org/name", HubAddress(repository="org/name")),
        ("hf://gpt2", HubAddress(repository="gpt2")),
        ("hf://gpt2@v1", HubAddress(repository="gpt2", revision="v1")),
        ("hf://org/name@v1/sub/f.bin", HubAddress(repository="org/name", revision="v1", path="sub/f.bin")),
        ("hf://org/name/sub/", HubAddress(repository="org/name", path="sub")),
        ("hf://org/name@refs/pr/1/sub", HubAddress(repository="org/name", revision="refs/pr/1", path="sub")),
        ("hf://org/name@a%2Fb", HubAddress(repository="org/name", revision="a/b")),
    ],
)
def test_addresses_of_a_hub(uri: str, found: HubAddress) -> None:
    assert parse_hub(uri) == found


@pytest.mark.parametrize(
    "uri",
    [
        "hf://",
        "hf://datasets/a/b",
        "hf://org/name@",
        "hf://org/name/../x",
        "hf://o/n/p@v1",
        "hf://-x/n",
        "hf://a/b/c\n",
    ],
)
def test_what_names_no_model_of_a_hub(uri: str) -> None:
    with pytest.raises(UsageError, match="names no"):
        parse_hub(uri)


FILES = tuple(HubFile(path=each, size=1) for each in ("w/b.bin", "a.json", "w/a.bin", "wide.txt"))


def test_which_files_of_a_commit() -> None:
    def chosen(path: str = "", allow: tuple[str, ...] = (), ignore: tuple[str, ...] = ()) -> list[str]:
        address = HubAddress(repository="o/n", path=path)
        return [each.path for each in choose_files(FILES, address, Options(allow=allow, ignore=ignore))]

    assert chosen() == ["a.json", "w/a.bin", "w/b.bin", "wide.txt"]
    assert chosen("w") == ["w/a.bin", "w/b.bin"]
    assert chosen("a.json") == ["a.json"]
    assert chosen(allow=("*.bin", "a.*"), ignore=("w/b*",)) == ["a.json", "w/a.bin"]
    with pytest.raises(ContextError, match="no 'none'"):
        chosen("none")
    with pytest.raises(ContextError, match="no file"):
        chosen(allow=("*.onnx",))


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "a/./b", "a\x07", "a\\b"])
def test_names_of_a_hub_stay_inside(path: str) -> None:
    with pytest.raises(ContextError, match="has a file of the name"):
        choose_files([HubFile(path=path)], HubAddress(repository="o/n"), Options())


def test_files_are_held_against_the_commit(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"hello\n")
    sha256 = hashlib.sha256(b"hello\n").hexdigest()
    git = "ce013625030ba8dba906f756967f9e9ca394464a"  # `echo hello | git hash-object --stdin`
    assert is_of_commit(path, HubFile(path="f", size=6, sha256=sha256, git="0" * 40))
    assert is_of_commit(path, HubFile(path="f", git=git))
    assert not is_of_commit(path, HubFile(path="f", size=7, sha256=sha256))
    assert not is_of_commit(path, HubFile(path="f", sha256="0" * 64))
    assert not is_of_commit(path, HubFile(path="f", git="0" * 40))
    assert not is_of_commit(path, HubFile(path="f")), "what has no digest cannot be verified"


def test_a_download_is_told_of_and_can_be_stopped() -> None:
    told, stopped = list[int](), threading.Event()
    before = set(threading.enumerate())
    bar = _bar(told.append, stopped)(total=3, unit="B", desc="f", disable=False)
    bar.update(2)
    assert told == [2]
    stopped.set()
    with pytest.raises(InterruptedError):
        bar.update(1)
    bar.close()
    assert not set(threading.enumerate()) - before


# --- MLflow -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("mlflow:models:/a b/3", MlflowAddress(name="a b", version="3")),
        ("models:/m@champion", MlflowAddress(name="m", alias="champion")),
        ("mlflow:runs:/abc/model/", MlflowAddress(run="abc", path="model")),
        ("runs:/abc/a/b.pkl", MlflowAddress(run="abc", path="a/b.pkl")),
    ],
)
def test_addresses_of_mlflow(uri: str, found: MlflowAddress) -> None:
    assert parse_mlflow(uri) == found


@pytest.mark.parametrize(
    "uri", ["mlflow:", "mlflow:models:/m", "models:/m/latest", "runs:/abc", "runs:/a/../x", "runs:/a/b//c"]
)
def test_what_names_no_model_of_mlflow(uri: str) -> None:
    with pytest.raises(UsageError, match="names no version"):
        parse_mlflow(uri)


def test_no_server_of_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match="no server of MLflow is named"):
        fetch("mlflow:models:/m/1", tmp_path)


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "package", "extra"),
    [("hf://o/n", "huggingface_hub", "packager[hf]"), ("mlflow:models:/m/1", "mlflow", "packager[mlflow]")],
)
def test_a_client_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError) as caught:
        fetch(uri, tmp_path)
    assert f"pip install '{extra}'" in str(caught.value)


def test_a_path_is_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"1")
    found = fetch(str(tmp_path / "m.pkl"), tmp_path / "scratch")
    assert found == Fetched(path=tmp_path / "m.pkl")
    forget(found)
    assert (tmp_path / "m.pkl").exists()
    with pytest.raises(ContextError, match="is not there"):
        fetch(str(tmp_path / "none"), tmp_path)
    (tmp_path / "link").symlink_to("none")
    with pytest.raises(ContextError, match="leads nowhere"):
        fetch(str(tmp_path / "link"), tmp_path)


def test_what_is_an_address() -> None:
    assert all(is_address(each) for each in ("https://h/x", "hf://o/n", "mlflow:models:/m/1", "runs:/a/b", "oci://r/n"))
    assert not any(is_address(each) for each in ("a/b", "./https", "model.pkl", "C:x", "mlflowish/x"))


@pytest.mark.parametrize(
    ("uri", "options", "problem"),
    [
        ("s3://bucket/m", Options(), "cannot be fetched by s3://"),
        ("hf://o/n", Options(sha256=SHA), "with https:// alone"),
        ("https://h/m", Options(allow=("*",)), "with hf:// alone"),
        ("http://example.com/m", Options(), "not safe on its way"),
        ("oci://user:pw@h/m:1", Options(), "has a user or password in it"),
    ],
)
def test_what_is_not_asked(tmp_path: Path, uri: str, options: Options, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        fetch(uri, tmp_path, options)
    assert "pw" not in str(caught.value)


def test_a_reference_is_what_a_registry_has(tmp_path: Path) -> None:
    source = Source(uri="oci://localhost:5000/m:1", revision=f"sha256:{SHA}")
    draft = Version(kind="model", name="m", source=source, framework="Onnx", run_id="r", description="d")
    sample = Content(path="a.json", origin=tmp_path / "samples/a.json", sha256=SHA)
    asked = []

    def pull(*paths: str) -> Callable[[str, Path], Pulled]:
        def pulled(reference: str, scratch: Path) -> Pulled:
            asked.append(reference)
            files = tuple(Content(path=each, origin=scratch / each, sha256=SHA) for each in paths)
            return Pulled(draft=draft, folder=scratch, files=files, samples=(sample,))

        return pulled

    found = fetch_reference("oci://localhost:5000/m:1", tmp_path, pull("m/w.bin", "m/x.bin"))
    assert asked == ["localhost:5000/m:1"]
    assert (found.path, found.framework, found.run_id, found.description) == (tmp_path / "m", "Onnx", "r", "d")
    assert (found.source, found.samples) == (source, (sample,))
    assert [each.path for each in found.files] == ["m/w.bin", "m/x.bin"]
    several = fetch_reference("oci://localhost:5000/m:1", tmp_path, pull("w.bin", "deep/x.bin"))
    assert several.path == tmp_path, "there is no one top"


def test_what_is_given_is_no_copy_and_never_in_the_way(tmp_path: Path) -> None:
    with place("https", "key") as folder:
        (folder / "data").write_bytes(b"1")
        give(folder / "data", tmp_path / "a/b")
        assert (tmp_path / "a/b").stat().st_ino == (folder / "data").stat().st_ino
        with pytest.raises(ContextError, match="exists"):
            give(folder / "data", tmp_path / "a/b")
        forget(Fetched(path=tmp_path, kept=folder))
        assert folder.exists(), "somebody has it"
    forget(Fetched(path=tmp_path, kept=folder))
    assert not folder.exists()
    assert (tmp_path / "a/b").read_bytes() == b"1"
