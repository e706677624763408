"""Real conda channels, made on the spot: tests need neither conda-forge nor a machine that has conda.

`channels(cache, base_archive)` returns a folder with two of them, and makes it when it is not there:

    forge            python, numpy, scipy, scikit-learn and more, for linux-64 and linux-aarch64; named and linked as
                     conda-forge does it, and what is awkward: see `oddities`
    forge/label/dev  the label `dev` of it: a newer `greeting`
    other            another channel that has a newer `greeting`, too

Python is repacked from the base image, packages come from wheels of the package index. Nothing is compiled, nothing is
run, and the same inputs give the same bytes.
"""

import base64
import bz2
import hashlib
import io
import json
import os
import posixpath
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import zstandard
from packaging.requirements import Requirement
from uv import find_uv_bin

REPOSITORY = Path(__file__).parents[2]
LOCK = REPOSITORY / "examples/diabetes/locks/cpu.requirements.txt"
"""Where the versions come from, so that the model of this example can be read."""

LOCKED = ("numpy", "scipy", "scikit-learn", "joblib", "threadpoolctl", "narwhals", "cloudpickle")
PINNED = {"pip": "26.3", "flatbuffers": "25.12.19", "graphviz": "0.21"}
CONDA_NAMES = {"flatbuffers": "python-flatbuffers", "graphviz": "python-graphviz"}
"""Names that differ, as they do on conda-forge. Only the first one's repodata says so."""

SUBDIRS = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}
ARCHITECTURES = {"linux-64": "amd64", "linux-aarch64": "arm64"}

PYTHON = "3.13"
SITE_PACKAGES = f"lib/python{PYTHON}/site-packages"
PYTHON_NEEDS = (f"python >={PYTHON},<3.14.0a0", f"python_abi {PYTHON}.* *_cp313")
NEWEST_GLIBC = 36  # what Debian 12 has; the base may be newer

TIME = 1_700_000_000  # of whatever has one
PLACEHOLDER = "/opt/host_env" + "_placehold" * 24 + "_"  # 254 characters, as long as usual
assert len(PLACEHOLDER) == 254


# --- packages -------------------------------------------------------------------------------------------------------


class File(NamedTuple):
    """A file of a package: what is in it, or where that is, or where it links to."""

    content: bytes | Path = b""
    executable: bool = False
    link: str = ""
    prefix_in: str = ""  # "text" or "binary": how the placeholder is in it

    def read(self) -> bytes:
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content


@dataclass(frozen=True)
class Package:
    """A package as it goes into a channel."""

    name: str
    version: str
    build: str = "0"
    subdir: str = "noarch"
    depends: tuple[str, ...] = ()
    files: Mapping[str, File] = field(default_factory=dict)
    number: int = 0
    noarch: str = ""  # "python" or "generic"
    entry_points: tuple[str, ...] = ()
    index: Mapping[str, Any] = field(default_factory=dict)  # more of index.json, and so of repodata
    repodata: Mapping[str, Any] = field(default_factory=dict)  # what repodata alone says; None takes a field away
    suffix: str = ".conda"

    @property
    def stem(self) -> str:
        return f"{self.name}-{self.version}-{self.build}"


def script(text: str) -> File:
    return File(text.encode(), executable=True)


def write_channel(folder: Path, packages: Iterable[Package]) -> None:
    """Write packages and what tells of them. A channel has a folder for noarch even if that is empty."""
    entries: dict[str, dict[str, dict[str, Any]]] = {}
    for subdir in ("noarch", *SUBDIRS):
        (folder / subdir).mkdir(parents=True)
        entries[subdir] = {".tar.bz2": {}, ".conda": {}}
    with ThreadPoolExecutor() as pool:
        for package, entry in pool.map(lambda each: (each, write_package(folder, each)), packages):
            entries[package.subdir][package.suffix][package.stem + package.suffix] = entry
    for subdir, found in entries.items():
        repodata = {
            "info": {"subdir": subdir},
            "packages": dict(sorted(found[".tar.bz2"].items())),
            "packages.conda": dict(sorted(found[".conda"].items())),
            "removed": [],
            "repodata_version": 1,
        }
        text = json.dumps(repodata, indent=1).encode()
        (folder / subdir / "repodata.json").write_bytes(text)
        (folder / subdir / "repodata.json.zst").write_bytes(zstandard.compress(text, 9))


def write_package(folder: Path, package: Package) -> dict[str, Any]:
    """Write a package and return its entry in repodata."""
    index = {
        "arch": SUBDIRS.get(package.subdir),
        "build": package.build,
        "build_number": package.number,
        "depends": list(package.depends),
        "license": "BSD-3-Clause",
        "name": package.name,
        "platform": package.subdir.partition("-")[0] if package.subdir in SUBDIRS else None,
        "subdir": package.subdir,
        "timestamp": TIME * 1000,
        "version": package.version,
        **({"noarch": package.noarch} if package.noarch else {}),
        **package.index,
    }
    content = dict(sorted(package.files.items()))
    info = {
        "info/index.json": index,
        "info/about.json": {"summary": f"{package.name} for tests"},
        "info/paths.json": {"paths": [path_entry(path, content) for path in content], "paths_version": 1},
    }
    if package.noarch == "python":
        noarch = {"type": "python", "entry_points": list(package.entry_points)}
        info["info/link.json"] = {"noarch": noarch, "package_metadata_version": 1}
    about = {name: File(json.dumps(value, indent=1).encode()) for name, value in info.items()}
    about["info/files"] = File("".join(f"{path}\n" for path in content).encode())

    path = folder / package.subdir / (package.stem + package.suffix)
    if package.suffix == ".conda":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo("metadata.json"), '{"conda_pkg_format_version": 2}')
            archive.writestr(zipfile.ZipInfo(f"pkg-{package.stem}.tar.zst"), zstandard.compress(tarred(content), 3))
            archive.writestr(zipfile.ZipInfo(f"info-{package.stem}.tar.zst"), zstandard.compress(tarred(about), 3))
    else:
        path.write_bytes(bz2.compress(tarred({**about, **content}), 1))
    data = path.read_bytes()
    entry = {
        **index,
        "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        **package.repodata,
    }
    return {key: value for key, value in sorted(entry.items()) if value is not None}


def path_entry(path: str, files: Mapping[str, File]) -> dict[str, Any]:
    """Return what paths.json says about a file. A link is described by what it leads to."""
    file = found = files[path]
    where = path
    while found.link:
        where = posixpath.normpath(posixpath.join(posixpath.dirname(where), found.link))
        found = files[where]
    data = found.read()
    entry: dict[str, Any] = {"_path": path, "path_type": "softlink" if file.link else "hardlink"}
    if file.prefix_in:
        entry |= {"file_mode": file.prefix_in, "prefix_placeholder": PLACEHOLDER}
    return {**entry, "sha256": hashlib.sha256(data).hexdigest(), "size_in_bytes": len(data)}


def tarred(files: Mapping[str, File]) -> bytes:
    """Return files as a tar, the same bytes each time."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, file in files.items():
            info = tarfile.TarInfo(path)
            info.mtime = TIME
            info.mode = 0o755 if file.executable else 0o644
            if file.link:
                info.type, info.linkname = tarfile.SYMTYPE, file.link
                archive.addfile(info)
            else:
                data = file.read()
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


# --- what comes from the base image ---------------------------------------------------------------------------------


def base_packages(base_archive: Path, subdir: str) -> Iterator[Package]:
    """Yield python, libgcc and libstdcxx, repacked from the base image."""
    base = Base(base_archive, ARCHITECTURES[subdir])
    compilers = base.version(rb"\[GCC (\d+\.\d+\.\d+)\]")
    glibc = f"__glibc >=2.{NEWEST_GLIBC},<3.0.a0"
    for name, library in (("libgcc", "libgcc_s.so.1"), ("libstdcxx", "libstdc++.so.6")):
        needs = (glibc,) if name == "libgcc" else (f"libgcc {compilers} h0_0",)
        files = dict(relocated({f"lib/{library}": base.library(library)}))
        yield Package(name, compilers, "h0_0", subdir, needs, files)
    yield Package(
        "python",
        base.version(rb"\0(3\.13\.\d+)(?:\+|\0)"),
        "h0_100_cp313",
        subdir,
        (glibc, f"libgcc >={compilers.partition('.')[0]}", f"python_abi {PYTHON}.* *_cp313"),
        dict(relocated(python_files(base))),
        number=100,
        index={"constrains": [f"python_abi {PYTHON}.* *_cp313"], "python_site_packages_path": SITE_PACKAGES},
    )


class Base:
    """The files of the base image for one architecture."""

    def __init__(self, archive: Path, architecture: str) -> None:
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        wanted = re.compile(rf"usr/bin/python{PYTHON}$|usr/lib/python{PYTHON}/|usr/lib/[^/]+-gnu/lib[^/]+$")
        with tarfile.open(archive, "r:") as layout:
            for layer in layers(layout, architecture):
                with tarfile.open(fileobj=layout.extractfile(layer), mode="r:*") as tree:
                    for member in tree:
                        name = member.name.removeprefix("./")
                        if not wanted.match(name):
                            continue
                        if member.issym():
                            self.links[name] = posixpath.normpath(
                                posixpath.join("/", posixpath.dirname(name), member.linkname)
                            )[1:]
                        elif found := tree.extractfile(member):
                            self.files[name] = found.read()
        self.libraries = next(name for name in self.files if name.endswith("/libc.so.6")).removesuffix("libc.so.6")

    def library(self, name: str) -> bytes:
        path = self.libraries + name
        while path in self.links:
            path = self.links[path]
        return self.files[path]

    def version(self, pattern: bytes) -> str:
        """Return a version that Python was built with. (What dpkg knows is not there for every architecture.)"""
        found = set(re.findall(pattern, self.files[f"usr/bin/python{PYTHON}"]))
        assert len(found) == 1, f"the base image has Python {found}"
        return str(found.pop(), "ascii")


def layers(layout: tarfile.TarFile, architecture: str) -> Iterator[str]:
    """Yield the names of the layers of an OCI archive for an architecture."""

    def document(name: str) -> Any:
        found = layout.extractfile(name)
        assert found
        return json.load(found)

    def blob(entry: Mapping[str, str]) -> str:
        return "blobs/" + entry["digest"].replace(":", "/")

    def manifests(name: str) -> Iterator[dict[str, Any]]:
        for entry in document(name)["manifests"]:
            if entry["mediaType"].endswith((".index.v1+json", ".list.v2+json")):
                yield from manifests(blob(entry))
            else:
                yield entry

    (manifest,) = (each for each in manifests("index.json") if each["platform"]["architecture"] == architecture)
    for layer in document(blob(manifest))["layers"]:
        yield blob(layer)


def python_files(base: Base) -> Iterator[tuple[str, bytes | File]]:
    """Yield the files of a prefix that has only Python. Debian's own changes are undone."""
    home = f"lib/python{PYTHON}/"
    left_out = re.compile(
        r"__pycache__/|test/|_test|lib-dynload/(_test|xx|_xx)|EXTERNALLY|sitecustomize|_distutils_sys"
    )
    program = base.files[f"usr/bin/python{PYTHON}"]
    for theirs, ours in (
        (b"z\rdist-packages", b"z\rsite-packages"),
        (b"z\tlocal/lib", b"z\t./././lib"),
    ):  # in its frozen site.py
        assert program.count(theirs) == 1, f"Debian's site.py has changed: {theirs!r}"
        program = program.replace(theirs, ours)
    programs = {f"bin/python{PYTHON}": program}
    for path, data in base.files.items():
        name = path.removeprefix(f"usr/{home}")
        if path.startswith(f"usr/{home}") and not left_out.match(name) and "/__pycache__/" not in name:
            if name.endswith(".so"):
                programs[home + name] = data
            else:
                yield home + name, undebianised(name, data)
    yield from programs.items()
    for name in libraries_of(base, programs.values()):
        yield f"lib/{name}", base.library(name)
    for name in ("bin/python", "bin/python3"):
        yield name, File(link=f"python{PYTHON}")


def undebianised(name: str, data: bytes) -> bytes:
    """Return a file of the standard library as upstream has it: site-packages in place of dist-packages."""
    changes = {
        "site.py": (
            rb"            if is_virtual_environment:\n.*?(?=        else:\n            sitepackages.append\(prefix\))",
            b"            for libdir in libdirs:\n"
            b"                sitepackages.append(os.path.join(prefix, libdir,\n"
            b'                    f"{implementation}{ver[0]}.{ver[1]}{abi_thread}", "site-packages"))\n',
        ),
        "sysconfig/__init__.py": (
            rb"    if sys.base_prefix != sys.prefix or hasattr.*?(?=\n    return \{\n        'prefix': prefix_scheme)",
            b"    prefix_scheme = 'posix_prefix'\n",
        ),
        "ensurepip/__init__.py": (rb"    _ensurepip_is_disabled_in_debian_for_system\(\)\n", b""),
    }
    if name not in changes:
        return data
    changed, count = re.subn(*changes[name], data, flags=re.DOTALL)
    assert count == 1, f"Debian's {name} has changed"
    return changed


def libraries_of(base: Base, programs: Iterable[bytes]) -> list[str]:
    """Return the libraries that programs need, apart from the C library and those with packages of their own."""
    system = re.compile(r"(libc|libm|libdl|libpthread|librt|libutil|ld-linux[^.]*|libgcc_s|libstdc\+\+)\.so\.\d+$")
    found: set[str] = set()
    todo = list(programs)
    while todo:
        for name in Elf(todo.pop()).needed():
            if name not in found and not system.match(name):
                found.add(name)
                todo.append(base.library(name))
    return sorted(found)


class Elf:
    """A little-endian 64-bit ELF file, as far as it has to be known here."""

    DYNAMIC, SYMBOLS, VERSIONS, NEEDS = 6, 11, 0x6FFFFFFF, 0x6FFFFFFE  # types of sections

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        (start,) = struct.unpack_from("<Q", data, 0x28)
        size, count = struct.unpack_from("<HH", data, 0x3A)
        self.all = [struct.unpack_from("<IIQQQQIIQQ", data, start + size * at) for at in range(count)]
        self.sections = {section[1]: section for section in self.all}
        self.strings = self.all[self.sections[self.DYNAMIC][6]][4]

    def text(self, at: int) -> str:
        start = self.strings + at
        return self.data[start : self.data.index(0, start)].decode()

    def needed(self) -> list[str]:
        start, size = self.sections[self.DYNAMIC][4:6]
        entries = (struct.unpack_from("<QQ", self.data, at) for at in range(start, start + size, 16))
        return [self.text(value) for tag, value in entries if tag == 1]

    def versions(self) -> Iterator[list[tuple[int, str]]]:
        """Yield, for each library, where the versions stand that are needed of it, and their names."""
        if self.NEEDS not in self.sections:
            return
        at = self.sections[self.NEEDS][4]
        while True:
            _, count, _, first, following = struct.unpack_from("<HHIII", self.data, at)
            found = []
            place = at + first
            for _ in range(count):
                *_, name, step = struct.unpack_from("<IHHII", self.data, place)
                found.append((place, self.text(name)))
                place += step
            yield found
            if not following:
                return
            at += following

    def older(self) -> bytes:
        """Return the program for older C libraries: what has come since `NEWEST_GLIBC` is taken from the first one.

        It is little: `__isoc23_strtol` and its like (`strtol` knows no binary digits), and an `fmod` without errno.
        """
        oldest = {62: "GLIBC_2.2.5", 183: "GLIBC_2.17"}[self.data[0x12]]
        too_new: set[int] = set()
        for library in self.versions():
            first = [at for at, name in library if name == oldest]
            for at, name in library:
                number = re.fullmatch(r"GLIBC_2\.(\d+)(\.\d+)?", name)
                if number and int(number[1]) > NEWEST_GLIBC:
                    too_new.add(struct.unpack_from("<H", self.data, at + 6)[0])
                    for offset, size in ((0, 4), (8, 4)):  # its hash and its name
                        self.data[at + offset : at + offset + size] = self.data[first[0] + offset :][:size]
        if too_new:
            versions = self.sections[self.VERSIONS][4]
            start, size = self.sections[self.SYMBOLS][4:6]
            for symbol, at in enumerate(range(start, start + size, 24)):
                if struct.unpack_from("<H", self.data, versions + 2 * symbol)[0] & 0x7FFF not in too_new:
                    continue
                (name,) = struct.unpack_from("<I", self.data, at)
                text = self.text(name)
                assert text.startswith("__isoc23_") or text == "fmod", f"{text} has no older form"
                struct.pack_into("<I", self.data, at, name + len("__isoc23_") if text != "fmod" else name)
        return bytes(self.data)


def tool(name: str) -> str:
    """Return where a program is that was installed with this interpreter, or else the machine's."""
    found = shutil.which(name, path=os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", ""))))
    assert found, f"{name} is missing (pip install {name})"
    return found


def relocated(files: Iterable[tuple[str, bytes | File]] | Mapping[str, bytes]) -> Iterator[tuple[str, File]]:
    """Yield files, with programs and libraries changed so that they find each other wherever the prefix is."""
    pairs = files.items() if isinstance(files, Mapping) else files
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "program")
        for name, file in pairs:
            if isinstance(file, File):
                yield name, file
            elif not file.startswith(b"\x7fELF"):
                yield name, File(file)
            else:
                path.write_bytes(Elf(file).older())
                origin = posixpath.join("$ORIGIN", posixpath.relpath("lib", posixpath.dirname(name)))
                # Not RUNPATH: libraries without one look where their program does, those of wheels among them.
                subprocess.run([tool("patchelf"), "--force-rpath", "--set-rpath", origin, path], check=True)
                yield name, File(path.read_bytes(), executable=True)


# --- what comes from wheels -----------------------------------------------------------------------------------------


def download(uv: str, folder: Path, machine: str) -> None:
    """Unpack the wheels for a machine into a folder. uv keeps what it has downloaded."""
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", LOCK.read_text(), re.MULTILINE))
    pins = {**{name: pins[name] for name in LOCKED}, **PINNED}
    platform = [
        "--python",
        sys.executable,
        "--python-version",
        PYTHON,
        "--python-platform",
        f"{machine}-manylinux_2_28",
    ]
    options = ["--target", str(folder), "--no-deps", "--only-binary", ":all:", "--quiet"]
    wanted = [f"{name}=={version}" for name, version in pins.items()]
    subprocess.run([uv, "pip", "install", *platform, *options, *wanted], check=True)


def wheel_packages(folder: Path, subdir: str, compilers: str) -> Iterator[Package]:
    """Yield packages of unpacked wheels: those for any platform when the subdir is noarch, else those that are not."""
    for info in sorted(folder.glob("*.dist-info")):
        pure = re.search(r"^Root-Is-Purelib: true", (info / "WHEEL").read_text(), re.MULTILINE) is not None
        if pure != (subdir == "noarch"):
            continue
        metadata = (info / "METADATA").read_text()
        (pypi_name,), (version,) = (
            re.findall(rf"^{key}: (\S+)", metadata, re.MULTILINE)[:1] for key in ("Name", "Version")
        )
        name = CONDA_NAMES.get(pypi_name, pypi_name)
        scripts = console_scripts(info)
        needs = [
            f"{requirement.name} {requirement.specifier}".rstrip()
            for requirement in map(Requirement, re.findall(r"^Requires-Dist: (.+)", metadata, re.MULTILINE))
            if not requirement.marker or requirement.marker.evaluate({"extra": "", "python_version": PYTHON})
        ]
        if pure:
            files = dict(wheel_files(folder, info, "site-packages"))
            repodata = {"purls": [f"pkg:pypi/{pypi_name}"]} if name == "python-flatbuffers" else {}
            yield Package(
                name,
                version,
                "pyhd8ed1ab_0",
                "noarch",
                ("python >=3.10", *needs),
                files,
                noarch="python",
                entry_points=tuple(scripts),
                repodata=repodata,
            )
        else:
            files = dict(wheel_files(folder, info, SITE_PACKAGES))
            files |= {f"bin/{line.partition(' = ')[0]}": launcher(line) for line in scripts}
            native = ("__glibc >=2.28,<3.0.a0", f"libgcc >={compilers}", f"libstdcxx >={compilers}")
            yield Package(name, version, "py313h0_0", subdir, (*native, *PYTHON_NEEDS, *needs), files)


def wheel_files(folder: Path, info: Path, site_packages: str) -> Iterator[tuple[str, File]]:
    """Yield the files of an unpacked wheel without its tests; its RECORD stays true."""
    installer = f"{info.name}/INSTALLER"
    record = []
    for line in sorted((info / "RECORD").read_text().splitlines()):
        name, digest, size = line.rsplit(",", 2)
        if name.startswith(("../", "bin/")) or "/tests/" in name or name.endswith(("/RECORD", ".pyc")):
            continue
        file = File(folder / name, executable=name.endswith(".so") or ".so." in name)
        if name == installer:
            file = File(b"conda\n")
            digest = "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(b"conda\n").digest()).decode().rstrip("=")
            size = str(len(b"conda\n"))
        record.append(f"{name},{digest},{size}\n")
        yield f"{site_packages}/{name}", file
    record.append(f"{info.name}/RECORD,,\n")
    yield f"{site_packages}/{info.name}/RECORD", File("".join(record).encode())


def console_scripts(info: Path) -> list[str]:
    """Return the console scripts of a distribution as `name = module:function`."""
    path = info / "entry_points.txt"
    found = (
        re.search(r"^\[console_scripts\]\n((?:[^\[\n].*\n?|\n)*)", path.read_text(), re.MULTILINE)
        if path.exists()
        else None
    )
    return [re.sub(r"\s*=\s*", " = ", line.strip()) for line in found[1].splitlines() if line.strip()] if found else []


def launcher(line: str) -> File:
    """Return the program of a console script, as packages that are not noarch carry it."""
    module, _, function = line.partition(" = ")[2].partition(":")
    text = f"#!{PLACEHOLDER}/bin/python{PYTHON}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
    return script(text)._replace(prefix_in="text")


# --- what is awkward ------------------------------------------------------------------------------------------------


def greeting(version: str) -> Package:
    """Return a noarch Python package with a console script."""
    info = f"site-packages/greeting-{version}.dist-info"
    return Package(
        "greeting",
        version,
        "pyhd8ed1ab_0",
        depends=("python >=3.10",),
        files={
            "site-packages/greeting/__init__.py": File(f"def main():\n    print('hello from {version}')\n".encode()),
            f"{info}/METADATA": File(f"Metadata-Version: 2.1\nName: greeting\nVersion: {version}\n".encode()),
            f"{info}/INSTALLER": File(b"conda\n"),
            f"{info}/entry_points.txt": File(b"[console_scripts]\ngreet = greeting:main\n"),
            f"{info}/RECORD": File(b""),
        },
        noarch="python",
        entry_points=("greet = greeting:main",),
    )


def post_link(name: str, text: str) -> Package:
    path = f"bin/.{name}-post-link.sh"
    return Package(name, "1.0", "h0_0", files={path: script(f"#!/bin/sh\n{text}\n")}, noarch="generic")


def data_package(name: str, **more: Any) -> Package:
    """Return a package with one file of data."""
    return Package(name, "1.0", "h0_0", files={f"share/{name}": File(f"{name}\n".encode())}, noarch="generic", **more)


def oddities() -> Iterator[Package]:
    """Yield packages that each have one thing that an installer or solver has to get right."""
    yield Package(
        "python_abi",
        PYTHON,
        "8_cp313",
        index={"constrains": [f"python {PYTHON}.* *_cp313"]},
        number=8,
        noarch="generic",
    )
    yield greeting("1.0")
    yield greeting("2.0")

    # Their files hold the prefix.
    text = File(f"prefix = {PLACEHOLDER}\ndata = {PLACEHOLDER}/share/data\n".encode(), prefix_in="text")
    yield Package("prefix-in-text", "1.0", "h0_0", files={"etc/prefix-in-text.conf": text}, noarch="generic")
    for subdir in SUBDIRS:
        binary = File(
            b"\x7f\0" + f"{PLACEHOLDER}/share/data".encode() + b"\0\x01the rest stays in its place\0",
            prefix_in="binary",
        )
        yield Package("prefix-in-binary", "1.0", "h0_0", subdir, files={"lib/prefix-in-binary.dat": binary})

    yield post_link("post-link-needed", 'mkdir -p "$PREFIX/etc" && echo made >"$PREFIX/etc/post-link-needed"')
    yield post_link("post-link-echo", 'echo "Thank you for installing this."')
    yield post_link("post-link-message", 'echo "Read the manual." >>"$PREFIX/.messages.txt"')

    # CUDA builds are preferred where there is CUDA, as with conda-forge's pytorch.
    for subdir in SUBDIRS:
        for variant, number, needs in (("cpu", 0, ()), ("cuda", 200, ("__cuda >=12",))):
            module = File(f'VARIANT = "{variant}"\n\n\ndef double(x):\n    return 2 * x\n'.encode())
            files = {f"{SITE_PACKAGES}/fastmath/__init__.py": module}
            yield Package("fastmath", "1.0", f"{variant}_0", subdir, (*PYTHON_NEEDS, *needs), files, number=number)

    yield Package("only-linux-64", "1.0", "h0_0", "linux-64", files={"share/only-linux-64": File(b"x86\n")})
    yield data_package("needs-newer-glibc", depends=("__glibc >=2.99",))
    yield data_package("impossible", depends=("does-not-exist >=1",))
    yield data_package("old-greeting", depends=("greeting <2",))
    yield data_package("new-greeting", depends=("greeting >=2",))
    yield data_package("md5-only", repodata={"sha256": None}, suffix=".tar.bz2")
    yield data_package("no-hashes", repodata={"sha256": None, "md5": None})


# --- channels -------------------------------------------------------------------------------------------------------


def build_channels(root: Path, base_archive: Path) -> None:
    """Write all channels into a folder that is not there yet."""
    uv = find_uv_bin()  # here, for it is not safe in threads
    with tempfile.TemporaryDirectory(dir=root.parent) as folder, ThreadPoolExecutor() as pool:
        wheels = {subdir: Path(folder, subdir) for subdir in SUBDIRS}
        downloads = [pool.submit(download, uv, wheels[subdir], machine) for subdir, machine in SUBDIRS.items()]
        forge = list(oddities())
        for subdir in SUBDIRS:
            forge += base_packages(base_archive, subdir)
        for each in downloads:
            each.result()
        compilers = next(package.version for package in forge if package.name == "libgcc").partition(".")[0]
        for subdir in SUBDIRS:
            forge += wheel_packages(wheels[subdir], subdir, compilers)
        forge += wheel_packages(wheels["linux-64"], "noarch", compilers)
        write_channel(root / "forge", forge)
    write_channel(root / "forge/label/dev", [greeting("4.0")])
    write_channel(root / "other", [greeting("3.0")])


def channels(cache: Path, base_archive: Path) -> Path:
    """Return a folder with the channels; it is made anew when this module, the lock or the base have changed."""
    base = base_archive.stat()
    made_from = hashlib.sha256(
        Path(__file__).read_bytes() + LOCK.read_bytes() + f"{base.st_size} {base.st_mtime_ns}".encode()
    )
    root = cache / f"conda-{made_from.hexdigest()[:16]}"
    if not root.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob("conda-[0-9a-f]*"):
            if old.stat().st_mtime < time.time() - 7 * 24 * 3600:  # not used for a week
                shutil.rmtree(old, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="conda-part-", dir=cache) as part:
            build_channels(Path(part, "root"), base_archive)
            try:
                os.rename(Path(part, "root"), root)
            except OSError:  # made by another process meanwhile
                if not root.is_dir():
                    raise
    os.utime(root)
    return root
