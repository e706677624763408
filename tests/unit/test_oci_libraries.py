"""Hand-made ELF headers and layers, held against each other."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from packager.errors import ContextError
from packager.laying.base_files import (
    BaseFiles,
    FileBlob,
    LayerFiles,
    find_python,
    merge_layers,
    read_base_files,
    read_layer,
)
from packager.laying.elf import Elf, NotElf, parse_elf
from packager.laying.libraries import Module, Modules, check_starts, find_problems, read_modules
from packager.laying.recipe import BasePython
from packager.storage.memory import Memory

TAGS = "x86_64-manylinux_2_28"
X86, ARM = 62, 183


def make_elf(
    machine: int = X86,
    needed: Sequence[str] = (),
    wants: Mapping[str, Sequence[str]] | None = None,
    offers: Sequence[str] = (),
    *,
    soname: str = "",
    runpath: str = "",
    wide: bool = True,
    order: str = "<",
) -> bytes:
    """A shared library of nothing but headers; one segment maps the file at address 0x1000."""
    strings = bytearray(b"\0")

    def name(text: str) -> int:
        strings.extend(text.encode() + b"\0")
        return len(strings) - len(text.encode()) - 1

    tags = [(1, name(each)) for each in needed]
    tags += [(14, name(soname))] if soname else []
    tags += [(29, name(runpath))] if runpath else []
    verneed = b""
    for number, (library, versions) in enumerate((wants or {}).items(), start=1):
        last = number == len(wants or {})
        verneed += struct.pack(
            f"{order}HHIII", 1, len(versions), name(library), 16, 0 if last else 16 + 16 * len(versions)
        )
        for index, version in enumerate(versions, start=1):
            verneed += struct.pack(f"{order}IHHII", 0, 0, 2, name(version), 0 if index == len(versions) else 16)
    verdef = struct.pack(f"{order}HHHHIII", 1, 1, 1, 1, 0, 20, 28 if offers else 0)
    verdef += struct.pack(f"{order}II", name(soname or "self"), 0)
    for index, version in enumerate(offers, start=1):
        verdef += struct.pack(f"{order}HHHHIII", 1, 0, index + 1, 1, 0, 20, 0 if index == len(offers) else 28)
        verdef += struct.pack(f"{order}II", name(version), 0)
    header, entry, tag_form = (64, 56, "QQ") if wide else (52, 32, "II")
    step = struct.calcsize(tag_form)
    start = header + 2 * entry
    count = len(tags) + 7
    at_strings = start + count * step
    at_need = at_strings + len(strings)
    at_def = at_need + len(verneed)
    tags += [(5, 0x1000 + at_strings), (10, len(strings))]
    tags += [(0x6FFFFFFE, 0x1000 + at_need), (0x6FFFFFFF, len(wants or {}))]
    tags += [(0x6FFFFFFC, 0x1000 + at_def), (0x6FFFFFFD, len(offers) + 1), (0, 0)]
    dynamic = b"".join(struct.pack(f"{order}{tag_form}", *tag) for tag in tags)
    total = at_def + len(verdef)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    form = "HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"
    head = ident + struct.pack(f"{order}{form}", 3, machine, 1, 0, header, 0, 0, header, entry, 2, 0, 0, 0)
    if wide:
        segments = struct.pack(f"{order}IIQQQQQQ", 1, 4, 0, 0x1000, 0x1000, total, total, 8)
        segments += struct.pack(f"{order}IIQQQQQQ", 2, 4, start, 0x1000 + start, 0, len(dynamic), len(dynamic), 8)
    else:
        segments = struct.pack(f"{order}IIIIIIII", 1, 0, 0x1000, 0x1000, total, total, 4, 8)
        segments += struct.pack(f"{order}IIIIIIII", 2, start, 0x1000 + start, 0, len(dynamic), len(dynamic), 4, 8)
    return head + segments + dynamic + bytes(strings) + verneed + verdef


# --- elf --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_the_loader_reads(wide: bool, order: str) -> None:
    wants = {"libc.so.6": ["GLIBC_2.17", "GLIBC_2.28"], "libstdc++.so.6": ["GLIBCXX_3.4"]}
    data = make_elf(
        ARM, ["libc.so.6", "libm.so.6"], wants, ["V_1", "V_2"], soname="libx.so.1", runpath="$ORIGIN/../x.libs:/opt",
        wide=wide, order=order,
    )  # fmt: skip
    assert parse_elf(data) == Elf(
        machine="aarch64",
        needed=("libc.so.6", "libm.so.6"),
        soname="libx.so.1",
        search=("$ORIGIN/../x.libs", "/opt"),
        wants=(("libc.so.6", "GLIBC_2.17"), ("libc.so.6", "GLIBC_2.28"), ("libstdc++.so.6", "GLIBCXX_3.4")),
        offers=("V_1", "V_2"),
    )


def test_an_unknown_machine() -> None:
    assert parse_elf(make_elf(9999)).machine == "machine-9999"


GOOD = make_elf(X86, ["libc.so.6"], {"libc.so.6": ["GLIBC_2.17"]}, ["A"], soname="s", runpath="$ORIGIN")


def parse_or_refuse(data: bytes) -> None:
    found = parse_elf(GOOD)
    assert (found.needed, found.wants, found.soname) == (("libc.so.6",), (("libc.so.6", "GLIBC_2.17"),), "s")
    try:
        read = parse_elf(data)
    except NotElf:
        assert data != GOOD
        return
    assert all(isinstance(name, str) for name in (*read.needed, *read.search, *read.offers))
    assert data != GOOD or read == found


@given(st.integers(0, len(GOOD) - 1))
def test_a_truncated_file(length: int) -> None:
    # The loader maps what the headers say, whether the part of it that is read here is there or not.
    with pytest.raises(NotElf):
        parse_elf(GOOD[:length])


@given(st.lists(st.tuples(st.integers(4, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=12))
def test_a_damaged_file(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for offset, value in changes:
        data[offset] = value
    parse_or_refuse(bytes(data))


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    parse_or_refuse(data)
    parse_or_refuse(b"\x7fELF\x02\x01" + data)


# --- files of the base ------------------------------------------------------------------------------------------------


def make_tar(entries: Mapping[str, bytes | str | None]) -> bytes:
    """bytes: a file; text: a link; None: a folder."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, content in entries.items():
            info = tarfile.TarInfo(path)
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return stream.getvalue()


LIBC = make_elf(offers=["GLIBC_2.2.5", "GLIBC_2.17", "GLIBC_2.36", "GLIBC_PRIVATE"])
BASE = {
    "./": None,
    "./lib": "usr/lib",
    "./usr/lib/x86_64-linux-gnu/libc.so.6": LIBC,
    "./usr/lib/x86_64-linux-gnu/libm.so.6": make_elf(),
    "./usr/lib/x86_64-linux-gnu/libstdc++.so.6": "libstdc++.so.6.0.33",
    "./usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.33": make_elf(offers=["GLIBCXX_3.4"]),
    "./etc/ld.so.conf.d/own.conf": b"# ours\n/opt/libs\n",
    "./opt/libs/libown.so.1": b"",
    "./usr/local/bin/python3": "/usr/bin/python3",
    "./usr/bin/python3": "python3.13",
    "./usr/bin/python3.13": b"",
}


def base(**changes: bytes | str | None) -> BaseFiles:
    return merge_layers([read_layer(io.BytesIO(make_tar(BASE | changes)))])


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress], ids=["tar", "gzip", "zstd"])
def test_layers_of_any_compression(compress: Callable[[bytes], bytes]) -> None:
    files = merge_layers([read_layer(io.BytesIO(compress(make_tar(BASE))))])
    assert files.glibc == (2, 36)
    assert files.machine == "x86_64"
    assert not files.musl
    assert files.loader_folders == ("opt/libs",)
    assert files.resolve("lib/x86_64-linux-gnu/libstdc++.so.6") == "usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.33"
    assert find_python(files) == BasePython(path="/usr/local/bin/python3", version="3.13")


def test_whiteouts_in_order() -> None:
    layers = [
        LayerFiles(paths={"a/x": None, "a/y": None, "b/x": None, "c/x": None, "d": None}),
        LayerFiles(paths={"b/new": None}, removed=("a/x", "d"), emptied=("b",)),
        LayerFiles(paths={"a/x": None, "c": "elsewhere"}),
    ]
    assert merge_layers(layers).paths == {"a/x": None, "a/y": None, "b/new": None, "c": "elsewhere"}


def test_a_removed_library_is_gone() -> None:
    upper = make_tar({"usr/lib/x86_64-linux-gnu/.wh.libc.so.6": b"", "opt/.wh..wh..opq": b""})
    files = merge_layers([read_layer(io.BytesIO(make_tar(BASE))), read_layer(io.BytesIO(upper))])
    assert files.glibc is None
    assert "opt/libs/libown.so.1" not in files.paths


def test_links_that_go_round_lead_nowhere() -> None:
    files = BaseFiles(paths={"a": "b", "b": "/a", "up": "../../x", "x": None})
    assert files.resolve("a") is None
    assert files.resolve("up") == "x"
    assert files.resolve("x/../x") == "x"
    assert files.resolve("") is None


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        ({"usr/local/bin/python3": "python3.12", "usr/local/bin/python3.12": None}, ("/usr/local/bin/python3", "3.12")),
        ({"usr/bin/python3": None, "usr/bin/python3.11": None}, ("/usr/bin/python3", "3.11")),
        ({"usr/bin/python3": "python3.11"}, None),
        ({"usr/bin/perl": None}, None),
    ],
)
def test_the_interpreter_of_a_base(paths: dict[str, str | None], found: tuple[str, str] | None) -> None:
    expected = BasePython(path=found[0], version=found[1]) if found else None
    assert find_python(BaseFiles(paths=paths)) == expected


def test_layers_are_read_once(tmp_path: Path) -> None:
    blob = tmp_path / "layer"
    blob.write_bytes(gzip.compress(make_tar(BASE)))
    layer = FileBlob(digest=f"sha256:{'a' * 64}", path=str(blob))
    memory = Memory("base-files", tmp_path)
    first = read_base_files([layer], memory)
    blob.unlink()
    assert read_base_files([layer], memory) == first
    (note,) = (tmp_path / "memory/base-files").iterdir()
    note.write_bytes(note.read_bytes()[:100])
    blob.write_bytes(make_tar(BASE))
    assert read_base_files([layer], memory) == first


@pytest.mark.parametrize("damage", ["gzip", "zstd", "tar", "other"])
def test_a_damaged_layer(tmp_path: Path, damage: str) -> None:
    data = make_tar(BASE | {"big": bytes(range(256)) * 4000})
    packed = {"gzip": gzip.compress(data), "zstd": zstandard.compress(data), "tar": data, "other": b"no archive" * 99}
    blob = tmp_path / "layer"
    blob.write_bytes(packed[damage][: len(packed[damage]) // 2])
    with pytest.raises(ContextError, match="cannot be read"):
        read_base_files([FileBlob(digest="sha256:0", path=str(blob))], Memory("base-files", tmp_path))
    assert not (tmp_path / "memory").exists()


# --- problems ---------------------------------------------------------------------------------------------------------


def problems(
    files: BaseFiles, platform: str = "linux/amd64", tags: str = TAGS, modules: Mapping[str, bytes] | None = None
) -> list[str]:
    found = tuple(Module(path=path, elf=parse_elf(data)) for path, data in (modules or {}).items())
    return [problem.message for problem in find_problems(Modules(found=found), files, platform, tags)]


def test_all_is_there() -> None:
    module = make_elf(
        needed=["libc.so.6", "libm.so.6", "libstdc++.so.6", "libown.so.1", "libbundled-1a2b.so.3", "libcuda.so.1"],
        wants={"libc.so.6": ["GLIBC_2.17"], "libstdc++.so.6": ["GLIBCXX_3.4"]},
    )
    bundled = make_elf(soname="libbundled-1a2b.so.3")
    assert problems(base(), modules={"p/m.abi3.so": module, "p.libs/renamed.so": bundled}) == []


def test_a_missing_library_names_package_and_who_needs_it() -> None:
    files = base(**{"./usr/lib/x86_64-linux-gnu/libstdc++.so.6": b""})
    files = BaseFiles(
        paths={path: target for path, target in files.paths.items() if "libstdc++" not in path}, offers=files.offers
    )
    module = make_elf(needed=["libstdc++.so.6", "libunheard.so.9"])
    said = problems(files, modules={f"lib/python3.13/site-packages/p/{name}.abi3.so": module for name in "abcde"})
    assert len(said) == 2
    assert said[0].startswith("libstdc++.so.6 is not in the base, and p/a.abi3.so, p/b.abi3.so, p/c.abi3.so and 2 more")
    assert said[0].endswith("the Debian package libstdc++6 brings it")
    assert "libunheard.so.9" in said[1]
    assert "Debian" not in said[1]


@pytest.mark.parametrize("damage", [b"", b"libstdc++.so.6.0.32", make_elf(offers=["GLIBCXX_3.4"])[:-1]])
def test_a_damaged_library_of_the_base_is_named(damage: bytes) -> None:
    files = base(**{"./usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.33": damage})
    module = make_elf(needed=["libstdc++.so.6"], wants={"libstdc++.so.6": ["GLIBCXX_3.4"]})
    assert problems(files, modules={"p/m.so": module}) == [
        "/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.33 of the base is damaged, and p/m.so cannot be loaded without"
    ]
    assert problems(files, modules={"p/m.so": make_elf(needed=["libc.so.6"])}) == []


def test_a_damaged_library_that_an_upper_layer_replaces_is_whole() -> None:
    path = "usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.33"
    layers: list[dict[str, bytes | str | None]] = [{**BASE, f"./{path}": b""}, {path: make_elf()}]
    files = merge_layers([read_layer(io.BytesIO(make_tar(layer))) for layer in layers])
    assert files.damaged == ()
    upper = read_layer(io.BytesIO(make_tar({"usr/lib/x86_64-linux-gnu/.wh.libstdc++.so.6.0.33": b""})))
    assert merge_layers([read_layer(io.BytesIO(make_tar(layers[0]))), upper]).damaged == ()


def test_symbols_that_are_newer_than_the_base() -> None:
    module = make_elf(
        needed=["libc.so.6", "libstdc++.so.6"],
        wants={"libc.so.6": ["GLIBC_2.17", "GLIBC_2.38"], "libstdc++.so.6": ["GLIBCXX_3.4.32"]},
    )
    said = problems(base(), modules={"p/m.so": module})
    assert [line.rpartition(" ")[2] for line in said] == ["GLIBC_2.38", "GLIBCXX_3.4.32"]
    assert "too old" in said[0]


def test_another_machine() -> None:
    arm = make_elf(ARM)
    said = problems(base(), modules={"p/m.cpython-313-aarch64-linux-gnu.so": arm, "debugger/attach_arm.so": arm})
    assert len(said) == 1
    assert "compiled for aarch64, the image is for linux/amd64" in said[0]
    assert "attach" not in said[0]
    assert (
        problems(base(), "linux/arm64", modules={"m.abi3.so": arm})[0]
        == "the base is for x86_64, the image for linux/arm64"
    )


def test_a_base_with_musl() -> None:
    files = BaseFiles(paths={"lib/ld-musl-x86_64.so.1": None})
    said = problems(files, modules={"m.abi3.so": make_elf(needed=["libc.so.6"])})
    assert len(said) == 1
    assert "musl" in said[0]
    assert problems(files) == []  # pure Python runs there
    # Wheels for musl find its C library, which is the loader itself.
    assert problems(BaseFiles(paths={"lib/libc.so.6": None}), tags="x86_64-musllinux_1_2") == []


def test_a_base_older_than_the_tags_of_the_lock() -> None:
    assert problems(base(), tags="x86_64-manylinux_2_40", modules={"m.abi3.so": make_elf()}) == [
        "the base has glibc 2.36, the lock allows wheels that need 2.40"
    ]
    assert problems(base(), tags="x86_64-manylinux2014", modules={"m.abi3.so": make_elf()}) == []


def test_an_environment_on_disk(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.13/site-packages"
    (site / "p").mkdir(parents=True)
    (site / "p/good.abi3.so").write_bytes(make_elf(needed=["libgomp.so.1"]))
    (site / "p/cut.abi3.so").write_bytes(GOOD[:70])
    (site / "p/empty.so").write_bytes(b"")
    (site / "p/script.so").write_bytes(b"/* GNU ld script */")
    (site / "p/module.py").write_bytes(b"")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tool").write_bytes(make_elf(needed=["libGL.so.1"]))
    (tmp_path / "bin/tool").chmod(0o755)
    (tmp_path / "lib64").symlink_to("lib")
    modules = read_modules(tmp_path)
    assert [module.path for module in modules.found] == ["bin/tool", "lib/python3.13/site-packages/p/good.abi3.so"]
    assert [path.rpartition("/")[2] for path in modules.unreadable] == ["cut.abi3.so", "empty.so", "script.so"]
    found = check_starts(tmp_path, base(), "linux/amd64", TAGS)
    libraries = {problem.what: problem.package for problem in found if problem.kind == "library"}
    assert libraries == {"libGL.so.1": "libgl1", "libgomp.so.1": "libgomp1"}
    damaged = {problem.what.rpartition("/")[2]: problem.certain for problem in found if problem.kind == "damaged"}
    assert damaged == {"cut.abi3.so": True, "empty.so": False, "script.so": False}
    assert "p/cut.abi3.so is no ELF file, or one that is cut off: it cannot be loaded" in [
        problem.message for problem in found
    ]
    assert check_starts(tmp_path, base(), "linux/amd64", TAGS, library_path=["/nowhere"]) == found
