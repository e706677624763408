"""A version as a ModelPack artifact and back, names in repositories, tags; what hostile documents are refused for."""

from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from packager.errors import ContextError, PackagerError, RegistryError, UsageError
from packager.oci.values import CONFIG, LAYER, MANIFEST
from packager.workspace.artifact import KITFILE, MODELPACK_CONFIG, image_title, kitfile_name, read_artifact
from packager.workspace.documents import (
    Edit,
    Index,
    Record,
    edit_of,
    folded,
    pack_index,
    read_index,
    unpack_index,
)
from packager.workspace.drafts import State, changed, state_of, with_state
from packager.workspace.encoding import LONGEST, decode, encode
from packager.workspace.file_roles import format_of, role_of
from packager.workspace.modelpack import is_ours, read_foreign, read_state, read_version, write_version
from packager.workspace.paths import check_together, checked_path
from packager.workspace.tags import (
    Name,
    busy_since,
    busy_tag,
    index_tag,
    name_tag,
    read_number_tags,
    read_workspace_tags,
)
from packager.workspace.unpack import Unpacker
from packager.workspace.values import Change, File, Resources, Source, Version

SHA = "ab" * 32


def file(path: str, size: int = 3, sha256: str = SHA) -> File:
    return File(path=path, size=size, sha256=sha256)


FULL = Version(
    kind="model",
    name="Iris_v2",
    version=3,
    created="2026-01-02T03:04:05Z",
    files=(file("m/README.md"), file("m/sub/weights.safetensors", 9, "cd" * 32)),
    samples=(file("one/request.json"),),
    framework="PyTorch",
    framework_version="2.4.0",
    resources=Resources(cpu=0.5, memory_gb=1.0, gpu=1),
    source=Source(uri="hf://org/name@main", revision="0123abc"),
    run_id="run-1",
    details={"signature": {"inputs": [1, 2.5, None]}, "ü": "ä"},
    description="what it is",
    tags={"area": "mnist"},
    properties={"by": "ci"},
    changes=4,
)
LASTING = FULL.__class__(
    **{name: getattr(FULL, name) for name in FULL.__struct_fields__ if name not in
       ("description", "tags", "properties", "changes")}
)  # fmt: skip

# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("sklearn_mnist", "sklearn_mnist"),
        ("a.b-c__d", "a.b-c__d"),
        ("Iris_v2", "x----49ris--5fv2"),
        ("a--b", "x--a--2d--2db"),
        ("ends-", "x--ends--2d"),
        ("_x", "x----5fx"),
        ("a___b", "x--a--5f--5f--5fb"),
    ],
)
def test_a_name_stands_as_it_is_where_it_can(name: str, encoded: str) -> None:
    assert encode(name) == encoded
    assert decode(encoded) == name


NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(NAMES)
def test_a_name_comes_back_and_fits_a_repository(name: str) -> None:
    from packager.reference import Reference

    encoded = encode(name)
    assert decode(encoded) == name
    Reference.parse(f"h:1/x/{encoded}:models.{encoded}")


@given(NAMES, NAMES)
def test_two_names_are_never_one(one: str, other: str) -> None:
    assert (encode(one) == encode(other)) == (one == other)


@given(st.text(st.sampled_from("x-ab19AZ._"), max_size=12))
def test_what_no_name_encodes_to_is_none(encoded: str) -> None:
    name = decode(encoded)
    assert name is None or encode(name) == encoded


def test_a_name_that_is_too_long_is_refused() -> None:
    assert encode("a" * LONGEST) == "a" * LONGEST
    with pytest.raises(UsageError, match="too long"):
        encode("a" * (LONGEST + 1))
    with pytest.raises(UsageError, match="119 characters"):
        encode("A" * 29)


# --- an artifact ------------------------------------------------------------------------------------------------------


def test_what_lasts_of_a_version_comes_back_from_its_artifact() -> None:
    written = write_version(FULL)
    artifact = read_artifact(written.manifest, "x")
    assert is_ours(artifact)
    assert read_version(artifact, written.config, "x") == LASTING


def test_what_can_change_is_not_in_the_artifact() -> None:
    assert write_version(FULL).digest == write_version(LASTING).digest
    assert write_version(LASTING, copy=True) == write_version(LASTING), "it has nothing that may change"
    copy = write_version(FULL, copy=True)
    artifact = read_artifact(copy.manifest, "x")
    assert read_version(artifact, copy.config, "x") == LASTING
    assert with_state(LASTING, read_state(artifact, "x")) == msgspec.structs.replace(FULL, changes=0)
    for hostile in ('{"tags": {"": "b"}}', '{"description": "\\u0007"}', "[]"):
        annotations = {**artifact.annotations, "packager.state": hostile}
        with pytest.raises(RegistryError, match=r"packager\.state of x is not valid"):
            read_state(msgspec.structs.replace(artifact, annotations=annotations), "x")


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(["model", "environment"]),
    NAMES,
    st.integers(1, 999_999_999),
    st.none() | TEXTS,
    st.none() | st.builds(Source, uri=TEXTS.filter(bool), revision=st.none() | TEXTS.filter(bool)),
    st.dictionaries(TEXTS, JSON, max_size=3),
    st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), unique=True, max_size=4),
)
def test_any_version_comes_back(
    kind: Any,
    name: str,
    version: int,
    run: str | None,
    source: Source | None,
    details: dict[str, Any],
    paths: list[str],
) -> None:
    files = tuple(file(f"top/{path}") for path in sorted(paths))
    whole = Version(
        kind=kind, name=name, version=version, run_id=run, source=source, details=details, files=files, samples=files
    )
    written = write_version(whole)
    assert read_version(read_artifact(written.manifest, "x"), written.config, "x") == whole


def test_the_artifact_has_what_the_specification_wants() -> None:
    written = write_version(FULL)
    manifest, config = json.loads(written.manifest), json.loads(written.config)
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    assert [layer["mediaType"].removeprefix("application/vnd.cncf.model.") for layer in manifest["layers"]] == [
        "doc.v1.raw",
        "weight.v1.raw",
        "dataset.v1.raw",
    ]
    weights = manifest["layers"][1]
    assert weights["digest"] == f"sha256:{'cd' * 32}"
    assert weights["annotations"]["org.cncf.model.filepath"] == "m/sub/weights.safetensors"
    assert weights["annotations"]["org.opencontainers.image.title"] == "m/sub/weights.safetensors"
    assert json.loads(weights["annotations"]["org.cncf.model.file.metadata+json"]) == {
        "name": "weights.safetensors", "mode": 0o644, "uid": 0, "gid": 0, "size": 9,
        "mtime": "1980-01-01T00:00:00Z", "typeflag": 48,
    }  # fmt: skip
    assert config == {
        "descriptor": {
            "name": "Iris_v2", "version": "3", "createdAt": "2026-01-02T03:04:05Z",
            "sourceURL": "hf://org/name@main", "revision": "0123abc",
        },
        "config": {"format": "safetensors"},
        "modelfs": {"type": "layers", "diffIds": [layer["digest"] for layer in manifest["layers"]]},
    }  # fmt: skip


def test_samples_stand_beside_a_model_that_is_called_samples() -> None:
    version = Version(kind="model", name="a", version=1, files=(file("samples/x"),), samples=(file("x"),))
    written = write_version(version)
    paths = [layer["annotations"]["org.cncf.model.filepath"] for layer in json.loads(written.manifest)["layers"]]
    assert paths == ["samples/x", "_samples/x"]
    assert read_version(read_artifact(written.manifest, "x"), written.config, "x") == version


def test_more_files_than_a_manifest_has_room_for_are_refused() -> None:
    files = tuple(file(f"m/{number:06}.bin") for number in range(12_000))
    with pytest.raises(ContextError, match="12000 files"):
        write_version(Version(kind="model", name="a", version=1, files=files))


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("m/model.safetensors", "weight"), ("m/tokenizer.json", "weight.config"), ("m/MLmodel", "weight.config"),
        ("LICENSE", "doc"), ("readme.md", "doc"), ("a/score.py", "code"), ("a/x.csv", "dataset"), ("noname", "weight"),
        ("m/requirements.txt", "weight.config"), ("a.py/weights", "weight"),
    ],
)  # fmt: skip
def test_the_name_tells_what_a_file_is(path: str, role: str) -> None:
    assert role_of(path) == role


def test_the_largest_weights_tell_the_format() -> None:
    assert format_of([file("a.onnx", 5), file("b.pkl", 9), file("c.md", 99)]) == "pickle"
    assert format_of([file("unknown", 5)]) == ""


# --- hostile documents ------------------------------------------------------------------------------------------------


TINY = {"mediaType": "x", "digest": f"sha256:{SHA}", "size": 1}


def edited(edit: Callable[[dict[str, Any]], object], of: bytes | None = None) -> bytes:
    document = json.loads(write_version(FULL).manifest if of is None else of)
    edit(document)
    return json.dumps(document).encode()


def set_path(path: str, layer: int = 0) -> Callable[[dict[str, Any]], object]:
    return lambda each: each["layers"][layer]["annotations"].update({"org.cncf.model.filepath": path})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (set_path("/etc/passwd"), "is absolute"),
        (set_path("m/../../x"), "leaves its folder"),
        (set_path("m//x"), "leaves its folder"),
        (set_path("m/."), "leaves its folder"),
        (set_path("m/a\x1b[2J"), "control characters"),
        (set_path("m/a\nb"), "control characters"),
        (set_path("m/sub/weights.safetensors"), "two files of one path"),
        (set_path("m/sub"), "as a file and as a folder"),
        (set_path("x" * 300), "too long"),
        (set_path("/".join("a" * 101)), "too long"),
        (lambda each: each.pop("config"), "`config`"),
        (lambda each: each.pop("layers"), "`layers`"),
        (lambda each: each["layers"][0].pop("size"), "`size`"),
        (lambda each: each["layers"][0].update(digest="sha512:ab"), "no blob"),
        (lambda each: each["layers"][0].update(digest="../../x"), "no blob"),
        (lambda each: each["layers"][0].update(size=-1), "no blob"),
        (lambda each: each["layers"][0].update(mediaType="text/plain\x07"), "does not know: 'text/plain'"),
        (lambda each: each["layers"][0].pop("annotations"), "without a path"),
        (lambda each: each["config"].update(size=5 << 20), "configuration of x is larger"),
        (lambda each: each["config"].update(mediaType="application/json"), "neither a ModelPack"),
        (lambda each: each.update(layers=[TINY] * 20_001), "20001 layers"),
    ],
)
def test_a_hostile_manifest_is_refused(edit: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(RegistryError) as caught:
        read_artifact(edited(edit), "x")
    assert message in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("data", [b"", b"[]", b"[" * 100_000, b"{", b"\xff", b"null", b" " * (5 << 20), b'"x"'])
def test_no_manifest_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(RegistryError):
        read_artifact(data, "x")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda each: each.pop("descriptor"), "`descriptor`"),
        (lambda each: each.pop("config"), "`config`"),
        (lambda each: each.pop("modelfs"), "`modelfs`"),
        (lambda each: each["modelfs"].pop("diffIds"), "`diffIds`"),
        (lambda each: each["modelfs"]["diffIds"].pop(), "3 layers, and its configuration says 2"),
        (lambda each: each["modelfs"]["diffIds"].__setitem__(0, "sha256:0"), "that it is sha256:0"),
        (lambda each: each["descriptor"].update(version="x"), "names no version"),
        (lambda each: each["descriptor"].update(version="9" * 40), "names no version"),
        (lambda each: each["descriptor"].update(name=""), "names no version"),
        (lambda each: each["descriptor"].update(name=5), "name"),
    ],
)
def test_a_configuration_that_is_not_whole_is_refused(edit: Callable[[dict[str, Any]], object], message: str) -> None:
    artifact, config = read_artifact(write_version(FULL).manifest, "x"), edited(edit, write_version(FULL).config)
    with pytest.raises(RegistryError) as caught:
        read_version(artifact, config, "x")
    assert message in caught.value.message


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | JSON.map(lambda each: json.dumps(each).encode())
)
def test_reading_is_total(data: bytes) -> None:
    artifact = read_artifact(write_version(FULL).manifest, "x")
    acts: list[Callable[[], object]] = [
        lambda: read_artifact(data, "x"),
        lambda: read_version(artifact, data, "x"),
        lambda: read_foreign(artifact, data, "x"),
        lambda: unpack_index(data.decode(errors="replace"), "x"),
        lambda: image_title(data),
        lambda: kitfile_name(data, "x"),
    ]
    for act in acts:
        with suppress(RegistryError):
            act()


@given(st.text(max_size=30))
def test_a_path_is_checked_whatever_it_is(path: str) -> None:
    try:
        assert checked_path(path, "x") == path
    except RegistryError:
        return
    assert not Path(path).is_absolute()
    assert ".." not in Path(path).parts
    check_together([path, f"{path}x"], "x")


def test_a_modelkit_and_an_image_are_known() -> None:
    layer = {"mediaType": "application/vnd.kitops.modelkit.model.v1.tar+gzip", "digest": f"sha256:{SHA}", "size": 1}
    part = {**layer, "mediaType": "application/vnd.kitops.modelkit.modelpart.v1.raw",
            "annotations": {"org.cncf.model.filepath": "part.bin"}}  # fmt: skip
    config = {"mediaType": KITFILE, "digest": f"sha256:{SHA}", "size": 1}
    kit = read_artifact(json.dumps({"config": config, "layers": [layer, part]}).encode(), "x")
    assert (kit.form, [(each.packing, each.compressed, each.path) for each in kit.layers]) == (
        "modelkit", [("tar", True, ""), ("raw", False, "part.bin")],
    )  # fmt: skip
    assert kitfile_name(b'{"package": {"name": "kit"}, "model": {"name": "m"}}', "x") == "kit"
    image = {"config": {**config, "mediaType": CONFIG}, "layers": [{**layer, "mediaType": LAYER}]}
    assert read_artifact(json.dumps(image).encode(), "x").form == "image"
    packed = {"config": {**config, "mediaType": MODELPACK_CONFIG}, "layers": [{**layer, "mediaType": KITFILE}]}
    assert read_artifact(json.dumps(packed).encode(), "x").skipped == 1
    assert image_title(b'{"config": {"Labels": {"org.opencontainers.image.title": "t"}}}') == "t"


# --- layers -----------------------------------------------------------------------------------------------------------


def tar(path: Path, *members: tuple[str, bytes | str, bytes], pack: Callable[[bytes], bytes] = bytes) -> Path:
    """A tar of members: name, content or where a link leads, type."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if isinstance(content, str):
                info.linkname = content
            else:
                info.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    path.write_bytes(pack(buffer.getvalue()))
    return path


def plain(name: str, content: bytes = b"x") -> tuple[str, bytes, bytes]:
    return name, content, tarfile.REGTYPE


def unpacked(tmp_path: Path, *layers: Path, image: bool = False) -> dict[str, bytes]:
    work = tmp_path / "work"
    work.mkdir()
    unpacker = Unpacker(work, "x", image=image)
    for layer in layers:
        unpacker.add_tar(layer)
    return {path: at.read_bytes() for path, (at, _) in unpacker.finish().items()}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_layer_is_unpacked_whatever_is_around_it(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    folder = ("./m", b"", tarfile.DIRTYPE)
    layer = tar(tmp_path / "l", folder, plain("./m/a", b"1"), plain("b", b"22"), pack=pack)
    assert unpacked(tmp_path, layer) == {"m/a": b"1", "b": b"22"}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([plain("/etc/x")], "absolute"),
        ([plain("a/../../x")], "leaves its folder"),
        ([("a", "/etc/passwd", tarfile.SYMTYPE)], "a link at 'a'"),
        ([plain("b"), ("a", "b", tarfile.LNKTYPE)], "a link at 'a'"),
        ([("a", "..", tarfile.SYMTYPE), plain("a/x")], "a link"),
        ([("a", b"", tarfile.CHRTYPE)], "neither file nor folder"),
        ([("a", b"", tarfile.FIFOTYPE)], "neither file nor folder"),
        ([plain("a"), plain("a")], "two files of one path"),
        ([plain("a"), plain("./a")], "two files of one path"),
        ([plain("a"), plain("a/b")], "as a file and as a folder"),
        ([plain("a\x07")], "control characters"),
        ([], "holds no file"),
    ],
)
def test_a_hostile_layer_is_refused(tmp_path: Path, members: list[Any], message: str) -> None:
    with pytest.raises(RegistryError) as caught:
        unpacked(tmp_path, tar(tmp_path / "l", *members))
    assert message in caught.value.message
    assert not (tmp_path / "x").exists()


def test_a_million_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.workspace.unpack.MOST_ENTRIES", 50)
    layer = tar(tmp_path / "l", *(("d", b"", tarfile.DIRTYPE) for _ in range(51)))
    with pytest.raises(RegistryError, match="more than 50"):
        unpacked(tmp_path, layer)


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.oci.unpacking.ALWAYS", 1000)
    with pytest.raises(PackagerError, match="bomb"):
        unpacked(tmp_path, tar(tmp_path / "l", plain("a", bytes(1 << 20)), pack=gzip.compress))


@pytest.mark.parametrize("cut", [0.0, 0.01, 0.4, 0.6])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_damaged_layer_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes], cut: float) -> None:
    layer = tar(tmp_path / "l", plain("a", random.Random(1).randbytes(20_000)), pack=pack)
    data = layer.read_bytes()
    layer.write_bytes(data[: int(len(data) * cut)] if cut else b"\x1f\x8bnonsense")
    with pytest.raises(RegistryError):
        unpacked(tmp_path, layer)


def test_a_raw_layer_that_is_compressed_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "l").write_bytes(gzip.compress(b"whole"))
    unpacker = Unpacker(tmp_path, "x")
    unpacker.add_compressed("m/a", tmp_path / "l")
    assert unpacker.finish()["m/a"][0].read_bytes() == b"whole"
    with pytest.raises(RegistryError, match="two files"):
        unpacker.add_compressed("m/a", tmp_path / "l")


def test_upper_layers_of_an_image_replace_and_delete(tmp_path: Path) -> None:
    lower = tar(tmp_path / "1", plain("a", b"old"), plain("d/x"), plain("d/y"), plain("e/z"))
    upper = tar(tmp_path / "2", plain("a", b"new"), plain("d/.wh.x", b""), plain("e/.wh..wh..opq", b""), plain("e/n"))
    assert unpacked(tmp_path, lower, upper, image=True) == {"a": b"new", "d/y": b"x", "e/n": b"x"}


def test_of_a_modelcar_the_model_is_taken(tmp_path: Path) -> None:
    system = tar(tmp_path / "1", plain("bin/busybox"), ("bin/sh", "busybox", tarfile.SYMTYPE))
    model = tar(tmp_path / "2", plain("models/m/w.bin", b"w"))
    assert unpacked(tmp_path, system, model, image=True) == {"m/w.bin": b"w"}


def test_an_image_with_links_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="a link at 'b'"):
        unpacked(tmp_path, tar(tmp_path / "1", plain("a"), ("b", "a", tarfile.SYMTYPE)), image=True)


# --- tags and records -------------------------------------------------------------------------------------------------


def test_the_tags_of_a_name_are_read() -> None:
    ours = ["1", "2", "1.0-a", "1.12-b", "1.2-c", "1.2-a", "2.deleted", "4.claim-ab12", "7.0-f"]
    tags = read_number_tags([*ours, "latest", "01", "3.x", "0", "1.5", "3.claim-", "3.deleted-a", "1.2-ab\n"])
    assert tags.live == (1,)
    assert tags.highest == 7
    assert tags.edits == {1: ("1.0-a", "1.2-a", "1.2-c", "1.12-b"), 7: ("7.0-f",)}
    assert (tags.count(1), tags.count(2), tags.next_edit(1), tags.next_edit(9)) == (4, 0, 13, 0)
    assert tags.claims == {4: frozenset({"4.claim-ab12"})}


def test_the_tags_of_a_workspace_are_read() -> None:
    one: Name = ("model", "a.7")
    two: Name = ("environment", "x----41")
    written = [
        name_tag(one), index_tag(one, 2, "aa"), index_tag(one, 11, "bb"), index_tag(one, 11, "cc"),
        busy_tag(two, 1000.5, "dd"), "image.2026-aa", "format", "unknown.x",
    ]  # fmt: skip
    assert all(
        len(tag) <= 128
        for tag in (index_tag(two, 10**6 - 1, "ab" * 4), busy_tag(("environment", "a" * 90), 2e9, "ab" * 4))
    )
    tags = read_workspace_tags(written)
    assert tags.names == {one, two}
    assert tags.tops(one) == (index_tag(one, 11, "bb"), index_tag(one, 11, "cc"))
    assert tags.rank(two) == 0
    assert tags.busy[two] == {busy_tag(two, 1000.5, "dd")}
    assert busy_since(busy_tag(two, 1000.5, "dd")) == 1000
    assert tags.images == ("image.2026-aa",)


def test_an_index_has_the_newest_where_not_all_have_room() -> None:
    small = Index(records=(Record(edits=1, version=FULL),), settled=("b",))
    assert read_index(unpack_index(pack_index(small), "x")) == small
    details = {"noise": "".join(chr(33 + (number * number * 7919) % 9000) for number in range(40_000))}
    many = tuple(
        Record(edits=0, version=Version(kind="model", name="a", version=number, details={**details, "n": number}))
        for number in range(1, 200)
    )
    packed = pack_index(Index(records=many))
    found = read_index(unpack_index(packed, "x"))
    assert found is not None
    assert len(packed) <= 2 << 20
    assert found.whole or found.records[-1].version.version == 199


def test_a_state_is_what_can_change() -> None:
    state = state_of(FULL)
    assert state == State(description="what it is", tags={"area": "mnist"}, properties={"by": "ci"}, changes=4)
    assert with_state(LASTING, state) == FULL


CHANGES = st.builds(
    Change,
    description=st.none() | st.sampled_from("de"),
    add_tags=st.dictionaries(st.sampled_from("abc"), st.sampled_from("12")),
    remove_tags=st.lists(st.sampled_from("abc"), max_size=2).map(tuple),
    add_properties=st.dictionaries(st.sampled_from("pq"), st.just("1")),
)


@given(st.lists(CHANGES, max_size=5))
def test_changes_one_after_the_other_are_what_each_says_it_becomes(changes: list[Change]) -> None:
    version, edits = FULL, [Edit(after=state_of(FULL), first=True)]
    for change in changes:
        edits.append(edit_of(change, version, ()))
        version = with_state(version, edits[-1].after)
    assert folded(edits) == state_of(version)


@given(CHANGES, CHANGES)
def test_changes_at_once_are_both_kept(one: Change, other: Change) -> None:
    ignored, start = Edit(after=state_of(FULL), first=True), Edit(after=state_of(LASTING), first=True)
    state = folded([ignored, start, edit_of(one, LASTING, ()), edit_of(other, LASTING, ())])
    assert state.changes == 2
    assert other.add_tags.items() <= state.tags.items()
    assert {name for name in one.add_tags if name not in other.remove_tags} <= state.tags.keys()
    assert one.add_properties.keys() | other.add_properties.keys() == state.properties.keys()


def test_a_change_keeps_what_it_does_not_name() -> None:
    change = Change(description="d", add_tags={"b": "1"}, remove_tags=("area", "none"), add_properties={"by": "ci"})
    after = changed(FULL, change)
    assert (after.description, after.tags, after.properties, after.changes) == ("d", {"b": "1"}, {"by": "ci"}, 5)
    assert changed(after, change) is after
    with pytest.raises(UsageError, match="never changes"):
        changed(FULL, Change(add_properties={"by": "me"}))
    with pytest.raises(UsageError, match="control character"):
        changed(FULL, Change(add_tags={"a": "\x1b"}))


def test_the_manifest_is_one_of_the_image_specification() -> None:
    assert json.loads(write_version(FULL).manifest)["mediaType"] == MANIFEST


#: Four threads decode new types at once, again and again: without care, the interpreter crashes at once.
_AT_ONCE = """
import sys, threading
import msgspec
from packager.workspace.artifact import read_json
sys.setswitchinterval(1e-6)
for _ in range(40):
    kind = msgspec.defstruct("Inner", [("z", int), *((f"f{n}", str | None, None) for n in range(15))])
    for _ in range(4):
        kind = msgspec.defstruct("Outer", [("a", kind), *((f"f{n}", str | None, None) for n in range(15))])
    barrier = threading.Barrier(4)
    def decode(kind=kind):
        barrier.wait()
        read_json(b'{"a": {"a": {"a": {"a": {"z": 1}}}}}', kind, "x")
    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


def test_several_threads_may_read_the_first_document_of_a_kind() -> None:
    done = subprocess.run([sys.executable, "-c", _AT_ONCE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
