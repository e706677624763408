from __future__ import annotations

import gzip
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packager.context.archive import archive
from packager.context.build_context import BuildContext
from packager.context.save import save
from packager.context.verify import Difference, verify
from packager.errors import ContextError
from packager.progress import listening
from packager.spec.load import SpecFile
from packager.storage.models import Store
from tests.unit import context_factory as factory
from tests.unit.heard import Heard

APP = "var/azureml-app/score.py"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[SpecFile, BuildContext, Path]:
    folder = tmp_path_factory.mktemp("verify")
    spec_file = factory.write_project(folder / "project")
    context = factory.context(spec_file)
    archive(context, spec_file.root, folder / "c.tar", Store(folder / "store"))
    return spec_file, context, folder / "c.tar"


@pytest.fixture
def context(shared: tuple[SpecFile, BuildContext, Path]) -> BuildContext:
    return shared[1]


@pytest.fixture
def tar(shared: tuple[SpecFile, BuildContext, Path]) -> bytes:
    return shared[2].read_bytes()


@pytest.fixture
def saved(tmp_path: Path, shared: tuple[SpecFile, BuildContext, Path]) -> Path:
    return save(shared[1], shared[0].root, tmp_path / "saved", Store(tmp_path / "store"))


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_it_tells_how_far_it_is(saved: Path, shared: tuple[SpecFile, BuildContext, Path], kind: str) -> None:
    path = saved if kind == "folder" else shared[2]
    heard = Heard()
    with listening(heard):
        result = verify(path)
    ((title, total, done),) = heard.told
    assert (title, total) == (f"verifying {path.name}", result.size)
    # The manifest is read, too, and lists not itself.
    assert done >= result.size > 0


def app_path(context: BuildContext) -> str:
    return next(file.path for file in context.files if file.path.endswith(APP))


def told(path: Path) -> list[str]:
    return [str(each) for each in verify(path).differences]


def _to_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_saved_context_is_as_its_manifest_says(saved: Path, context: BuildContext) -> None:
    found = verify(saved)
    assert found.ok
    assert found.digest == context.digest
    assert (found.name, found.version, found.target, found.platform) == ("demo", "1", "cpu", "linux/amd64")
    assert found.files == len(context.files)
    assert found.size == sum(file.size for file in context.files)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda path: path.write_text(factory.SCORE.replace("data", "Data")), "changed: {} (content)"),
        (lambda path: path.write_text("x"), "changed: {} (content, size 1 instead of 54)"),
        (lambda path: path.chmod(0o600), "changed: {} (mode 0600 instead of 0644)"),
        (lambda path: path.chmod(0o4644), "changed: {} (mode 4644 instead of 0644)"),
        (lambda path: path.unlink(), "missing: {}"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/hostname")), "changed: {} (link instead of file)"),
        (lambda path: (path.unlink(), path.mkdir()), "changed: {} (folder instead of file)"),
        (_to_pipe, "changed: {} (special file instead of file)"),
    ],
)
def test_changed_files(saved: Path, context: BuildContext, edit: Callable[[Path], object], expected: str) -> None:
    edit(saved / app_path(context))
    assert told(saved) == [expected.format(app_path(context))]


def test_extra_and_missing_entries(saved: Path) -> None:
    (saved / "notes.txt").write_text("")
    (saved / "folder").mkdir()
    (saved / "link").symlink_to("/")
    (saved / "environment/requirements.txt").unlink()
    (saved / "environment").rmdir()
    (saved / "HANDOFF.md").unlink()
    assert told(saved) == [
        "missing: HANDOFF.md",
        "missing: environment (folder)",
        "missing: environment/requirements.txt",
        "extra: folder (folder)",
        "extra: link (link)",
        "extra: notes.txt",
    ]


def test_folder_modes(saved: Path) -> None:
    (saved / "environment").chmod(0o700)
    assert told(saved) == ["changed: environment (mode 0700 instead of 0755)"]


def test_an_extra_name_that_is_no_text_is_shown_in_ascii(saved: Path) -> None:
    with open(os.path.join(os.fsencode(saved), b"bad\xff"), "wb"):
        pass
    assert told(saved) == ["extra: bad\\udcff"]


def test_links_are_not_followed(saved: Path, tmp_path: Path) -> None:
    (saved / "environment").rename(tmp_path / "elsewhere")
    (saved / "environment").symlink_to(tmp_path / "elsewhere")
    assert "changed: environment (link instead of folder)" in told(saved)
    assert "missing: environment/requirements.txt" in told(saved)


def test_other_times_are_told_and_are_no_difference(saved: Path) -> None:
    os.utime(saved / "Dockerfile")
    found = verify(saved)
    assert found.ok
    assert found.retimed == ("Dockerfile",)


def test_a_manifest_that_was_edited_together_with_a_file(saved: Path, context: BuildContext) -> None:
    """Whoever changes a file and its line in the manifest still leaves the digests of layer and context behind."""
    path = app_path(context)
    (saved / path).write_text("x" * 54)
    digest, _ = factory.read_digest(saved / path)
    manifest = json.loads((saved / "packager.json").read_text())
    for file in manifest["files"]:
        if file["path"] == path:
            file["sha256"] = digest
    (saved / "packager.json").write_text(json.dumps(manifest))
    folder = path.removesuffix(f"/{APP}")
    assert told(saved) == [
        f"manifest: {folder} (the layer's digest is not that of its files)",
        "manifest: packager.json (its digest is not that of what it says)",
    ]


@pytest.mark.parametrize(
    "edit",
    [
        lambda manifest: manifest.update(name="other"),
        lambda manifest: manifest.update(version="2"),
        lambda manifest: manifest.update(target="gpu"),
        lambda manifest: manifest.update(platform="linux/arm64"),
        lambda manifest: manifest.update(spec="sha256:" + "0" * 64),
        lambda manifest: manifest.update(lock="sha256:" + "0" * 64),
        lambda manifest: manifest.update(dialect="plain"),
        lambda manifest: manifest["base"].update(reference="docker.io/library/other:1"),
        lambda manifest: manifest["base"].update(digest="sha256:" + "0" * 64),
        lambda manifest: manifest["layers"].pop(),
        lambda manifest: manifest["layers"].reverse(),
        lambda manifest: manifest["layers"][0].update(name="other"),
        lambda manifest: manifest["layers"][0].update(title="other"),
        lambda manifest: manifest["layers"][0].update(size=1),
    ],
)
def test_everything_that_decides_the_image_is_covered(saved: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((saved / "packager.json").read_text())
    edit(manifest)
    (saved / "packager.json").write_text(json.dumps(manifest))
    assert "manifest: packager.json (its digest is not that of what it says)" in told(saved)


def test_the_version_that_wrote_it_is_not(saved: Path) -> None:
    text = (saved / "packager.json").read_text()
    before = json.loads(text)
    (saved / "packager.json").write_text(text.replace(f'"packager": "{before["packager"]}"', '"packager": "99"'))
    assert not [each for each in told(saved) if each.startswith("manifest")]


def test_what_is_no_context(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ContextError, match="not a saved context"):
        verify(tmp_path / "empty")
    with pytest.raises(ContextError, match="No such file"):
        verify(tmp_path / "missing")
    factory.write_files(tmp_path / "other", {"packager.json": "{}"})
    with pytest.raises(ContextError, match="not a manifest"):
        verify(tmp_path / "other")
    (tmp_path / "link").mkdir()
    (tmp_path / "link/packager.json").symlink_to("/dev/zero")
    with pytest.raises(ContextError, match="is a link"):
        verify(tmp_path / "link")
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe/packager.json")
    with pytest.raises(ContextError, match="not a regular file"):
        verify(tmp_path / "pipe")


def test_a_huge_manifest_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "packager.json").write_text('{"format": "packager.context/2"')
    os.truncate(tmp_path / "packager.json", (1 << 27) + 1)
    with pytest.raises(ContextError, match="larger than"):
        verify(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(data=st.data())
def test_one_changed_byte_anywhere_is_told(saved: Path, context: BuildContext, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from([file for file in context.files if file.size]))
    offset = data.draw(st.integers(0, file.size - 1))
    path = saved / file.path
    before = path.read_bytes()
    after = before[:offset] + bytes([before[offset] ^ 1]) + before[offset + 1 :]
    path.chmod(0o644)
    path.write_bytes(after)
    path.chmod(file.mode)
    assert verify(saved).differences == (Difference(kind="changed", path=file.path, detail="content"),)
    path.chmod(0o644)
    path.write_bytes(before)
    path.chmod(file.mode)


# --- archives ---------------------------------------------------------------------------------------------------------

Entry = tuple[tarfile.TarInfo, bytes]


def members(tar: bytes) -> list[Entry]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        return [
            (member, stream.read() if (stream := opened.extractfile(member)) else b"") for member in opened.getmembers()
        ]


def packed(entries: list[Entry]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as opened:
        for member, data in entries:
            opened.addfile(member, io.BytesIO(data))
    return out.getvalue()


def entry(name: str, data: bytes = b"", **fields: object) -> Entry:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def write(tmp_path: Path, data: bytes, name: str = "x.tar") -> Path:
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


def test_compression_is_told_by_the_content(tmp_path: Path, tar: bytes) -> None:
    for data in (tar, gzip.compress(tar), zstandard.compress(tar)):
        assert verify(write(tmp_path, data, "anything.bin")).ok


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (entry("../../evil", b"x"), "extra: ../../evil"),
        (entry("/etc/evil", b"x"), "extra: /etc/evil"),
        (entry("Dockerfile", b"x"), "extra: Dockerfile (a second entry of this name)"),
        (entry("l", type=tarfile.SYMTYPE, linkname="/etc"), "extra: l (link)"),
        (entry("l", type=tarfile.LNKTYPE, linkname="Dockerfile"), "extra: l"),
        (entry("l", type=tarfile.LNKTYPE, linkname="/etc/passwd"), "extra: l (link)"),
        (entry("l", type=tarfile.LNKTYPE, linkname="../Dockerfile"), "extra: l (link)"),
        (entry("d", type=tarfile.CHRTYPE, devmajor=1, devminor=3), "extra: d (special file)"),
        (entry("f", type=tarfile.FIFOTYPE), "extra: f (special file)"),
        (entry("n", b"x"), "extra: n"),
    ],
)
def test_hostile_entries_are_differences_and_never_written(
    tmp_path: Path, tar: bytes, extra: Entry, expected: str
) -> None:
    path = write(tmp_path, packed([*members(tar), extra]))
    assert told(path) == [expected]
    assert [each.name for each in tmp_path.iterdir()] == ["x.tar"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_listed_files_that_are_something_else(tmp_path: Path, tar: bytes, kind: bytes) -> None:
    entries = members(tar)
    for index, (member, _) in enumerate(entries):
        if member.name == "Dockerfile":
            entries[index] = entry("Dockerfile", type=kind, linkname="HANDOFF.md", mode=0o644)
    differences = verify(write(tmp_path, packed(entries))).differences
    assert [(each.kind, each.path) for each in differences] == [("changed", "Dockerfile")]
    assert differences[0].detail.endswith("instead of file")


def test_changed_and_missing_entries(tmp_path: Path, tar: bytes) -> None:
    entries = [each for each in members(tar) if each[0].name != "HANDOFF.md"]
    for index, (member, data) in enumerate(entries):
        if member.name == "Dockerfile":
            entries[index] = entry("Dockerfile", data.replace(b"scratch", b"scratcH"), mode=0o755)
    found = verify(write(tmp_path, packed(entries)))
    assert [str(each) for each in found.differences] == [
        "changed: Dockerfile (content, mode 0755 instead of 0644)",
        "missing: HANDOFF.md",
    ]


@pytest.mark.parametrize("mtime", [1.5, 2.0**31])
def test_times_in_archives(tmp_path: Path, tar: bytes, mtime: float) -> None:
    entries = members(tar)
    entries[1][0].mtime = mtime
    assert verify(write(tmp_path, packed(entries))).retimed == (entries[1][0].name,)


def test_packed_again_by_somebody_else(tmp_path: Path, saved: Path) -> None:
    subprocess.run(["tar", "-cf", tmp_path / "x.tar", "-C", saved, "."], check=True)
    with pytest.raises(ContextError, match=r"first entry is not packager\.json") as caught:
        verify(tmp_path / "x.tar")
    assert "unpack it" in str(caught.value.remedy)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_truncated_anywhere(tmp_path: Path, tar: bytes, compress: Callable[[bytes], bytes]) -> None:
    data = compress(tar)
    last = len(data) - (600 if compress is bytes else 1)
    for size in sorted({0, 1, 3, 100, 511, 512, 513, 700, *range(1000, last, max(1, last // 50)), last}):
        path = write(tmp_path, data[:size])
        try:
            found = verify(path)
        except ContextError:
            continue
        # zstd's own end mark is behind all of the content.
        assert compress is zstandard.compress
        assert found.ok
        assert len(data) - size < 20


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(data=st.data())
def test_damaged_archives_are_told_and_never_crash(tmp_path: Path, tar: bytes, data: st.DataObject) -> None:
    compressors: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, zstandard.compress]
    compress = data.draw(st.sampled_from(compressors))
    packed_bytes = bytearray(compress(tar))
    edits = st.tuples(st.integers(0, len(packed_bytes) - 1), st.integers(1, 255))
    for offset, flip in data.draw(st.lists(edits, min_size=1, max_size=4)):
        packed_bytes[offset] ^= flip
    assert verify(write(tmp_path, compress(tar))).ok
    path = write(tmp_path, bytes(packed_bytes))
    try:
        found = verify(path)
    except ContextError:
        return
    # What is left unnoticed reaches nobody who unpacks the archive: names of users, and parts of the packing itself.
    if found.ok and not found.retimed:
        with tarfile.open(fileobj=io.BytesIO(tar)) as wanted, tarfile.open(fileobj=_plain(bytes(packed_bytes))) as real:
            pairs = zip(wanted.getmembers(), real.getmembers(), strict=True)
            assert all((a.name, a.mode, a.size, a.type) == (b.name, b.mode, b.size, b.type) for a, b in pairs)


def _plain(data: bytes) -> io.BytesIO:
    if data[:2] == b"\x1f\x8b":
        return io.BytesIO(gzip.decompress(data))
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return io.BytesIO(zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read())
    return io.BytesIO(data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.binary(max_size=2000), st.sampled_from([b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"]))
def test_any_bytes_are_a_clear_error(tmp_path: Path, data: bytes, start: bytes) -> None:
    with pytest.raises(ContextError):
        verify(write(tmp_path, start + data))


def test_data_behind_the_end(tmp_path: Path, tar: bytes) -> None:
    assert verify(write(tmp_path, tar + bytes(10240))).ok
    with pytest.raises(ContextError, match="behind its end"):
        verify(write(tmp_path, tar + b"hidden"))
    with pytest.raises(ContextError, match="behind its end"):
        verify(write(tmp_path, tar + bytes(1024) + packed([entry("hidden", b"x")])))


@pytest.mark.parametrize("junk", [b"\xff" * 512, b"not a header".ljust(512)])
def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path, tar: bytes, junk: bytes) -> None:
    with pytest.raises(ContextError, match="a header is damaged"):
        verify(write(tmp_path, tar[:-1024] + junk + bytes(1024)))


def test_headers_that_call_for_memory(tmp_path: Path, tar: bytes) -> None:
    """A long name, or an extended header, which tarfile would read into memory however long."""
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE):
        for size in (2 << 20, 8 << 30):
            info = tarfile.TarInfo("x")
            info.type, info.size = kind, size
            header = info.tobuf(tarfile.GNU_FORMAT)
            for start in (tar[: _end(tar)], b""):
                with pytest.raises(ContextError, match="header that is too long"):
                    verify(write(tmp_path, start + header + bytes(4 << 20)))


def test_sizes_that_point_backwards(tmp_path: Path, tar: bytes) -> None:
    # Base-256: a negative size, at which some versions of tarfile went round in circles (CVE-2025-8194).
    info = tarfile.TarInfo("x")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xf0\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(ContextError):
        verify(write(tmp_path, tar[:-1024] + bytes(header) + bytes(1024)))


def test_more_entries_than_are_listed(tmp_path: Path, tar: bytes) -> None:
    many = [entry(f"n{number}") for number in range(2000)]
    with pytest.raises(ContextError, match="more than its"):
        verify(write(tmp_path, packed([*members(tar), *many])))


def test_chained_headers_do_not_exhaust_the_stack(tmp_path: Path, tar: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 0
    with pytest.raises(ContextError):
        verify(write(tmp_path, tar[:-1024] + info.tobuf(tarfile.GNU_FORMAT) * 5000 + bytes(1024)))


def test_a_bomb_costs_neither_memory_nor_time(tmp_path: Path, context: BuildContext, tar: bytes) -> None:
    """4 GiB of zeros in a few MB: as an entry of its own, in the place of a listed file, and behind the end."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as stream:
        info = tarfile.TarInfo("bomb")
        info.size = 4 << 30
        stream.write(tar[: _end(tar)] + info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(256):
            stream.write(bytes(1 << 20))
    path = write(tmp_path, out.getvalue())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ContextError, match="more than its"):
        verify(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def _end(tar: bytes) -> int:
    return len(tar.rstrip(b"\0")) + (-len(tar.rstrip(b"\0")) % 512)


@pytest.mark.parametrize(
    "manifest", [b"", b"{}", b"\xff", b"[" * 200_000, b'{"format": "packager.context/9"}', b'{"format": 7}']
)
def test_hostile_manifests_in_archives(tmp_path: Path, manifest: bytes) -> None:
    with pytest.raises(ContextError):
        verify(write(tmp_path, packed([entry("packager.json", manifest)])))


def test_a_manifest_that_is_a_link(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="first entry"):
        verify(write(tmp_path, packed([entry("packager.json", type=tarfile.SYMTYPE, linkname="/etc/passwd")])))


def test_a_manifest_that_is_larger_than_any(tmp_path: Path) -> None:
    info = tarfile.TarInfo("packager.json")
    info.size = 1 << 28
    with pytest.raises(ContextError):
        verify(write(tmp_path, info.tobuf() + bytes(1 << 20)))


def test_memory_of_large_archives_is_bounded(tmp_path: Path) -> None:
    """In a process of its own, whose peak (VmHWM, in KiB) starts at nothing."""
    project = tmp_path / "project"
    factory.write_files(project, {"src/score.py": factory.SCORE})
    with (project / "big.bin").open("wb") as stream:
        for _ in range(200):
            stream.write(os.urandom(1 << 20))
    factory.write_spec(project, models=("big.bin",))
    code = """\
import sys
from pathlib import Path
from typing import Any
from packager.context.archive import archive
from packager.context.verify import verify
from packager.spec.load import load_spec
from packager.storage.models import Store
from tests.unit import context_factory as factory
spec_file = load_spec(Path(sys.argv[1]))
store = Store(Path(sys.argv[2]))
context = factory.assemble(factory.plan(spec_file, factory.scan(spec_file, store.add)), factory.TEXTS)
archive(context, spec_file.root, Path(sys.argv[3]), store)
assert verify(Path(sys.argv[3])).ok
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    arguments = [str(project), str(tmp_path / "store"), str(tmp_path / "c.tar.zst")]
    output = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ).stdout
    assert int(output) < 100_000


def test_result_is_data(saved: Path) -> None:
    (saved / "notes.txt").write_text("")
    data = msgspec.to_builtins(verify(saved))
    assert data["differences"] == ({"kind": "extra", "path": "notes.txt", "detail": ""},)
