"""`locks/<target>.conda-lock.yml`: the conda half of a lock as text. Pure.

Format: conda-lock's unified lock file, version 1, as `conda_lock.lockfile.v1.models` of conda-lock 4.0 defines it; its
own parser, `conda-lock render` and `conda-lock install` take it. What conda-lock leaves open is fixed here: only conda
packages, one category, sha256 on every package, sorted, and neither times nor names of people in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from packager.decoding import convert
from packager.environments.channel_credentials import variables
from packager.environments.conda import SUBDIRS, CondaPackage
from packager.errors import Location, LockError
from packager.given import find_conflict
from packager.spec.load import LOCK_NAME

# As in the requirements file: the same packages give the same bytes, on any day and machine.
HEADER = """\
# Made by packager, in the format of conda-lock; do not edit: `packager lock` writes this file anew when the
# requirements change, `packager lock --upgrade` takes newer versions.
"""

_REMEDY = "take the file back from version control, or run `packager lock`"
_Text = Annotated[str, Meta(min_length=1, max_length=1024)]
# Nothing here may become an option of a program, a second line, or a path that leaves its folder.
_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(?!\n)$", max_length=255)]
_Version = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.!+-]+(?!\n)$", max_length=255)]
# Credentials are names of variables, as in `check_channel`.
_PLAIN, _VARIABLE = r"[^\s@\\\"'`$]*", r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"
_USER = rf"(?:(?:{_VARIABLE}(?::{_VARIABLE})?|[A-Za-z0-9._~+-]+:{_VARIABLE})@)?"
_FILE = r"[^\s/@\\\"'`$]+\.(?:conda|tar\.bz2)(?!\n)"
_Url = Annotated[
    str,
    Meta(
        pattern=rf"^[a-z][a-z0-9+.-]*://{_USER}{_PLAIN}(?:/t/{_VARIABLE}/{_PLAIN})?/{_FILE}$",
        max_length=2048,
    ),
]


def conda_lock_path(target: str, lock: str = LOCK_NAME) -> str:
    """Return the path of a target's conda-lock file, relative to the folder of the spec."""
    return f"{lock_folder(lock)}/{target}.conda-lock.yml"


def lock_folder(lock: str) -> str:
    """Return the folder of a lock's files, relative to the folder of the spec: `gpu.packager.lock` has `locks/gpu`."""
    stem = lock.removesuffix(LOCK_NAME).removesuffix(".")
    return f"locks/{stem}" if stem else "locks"


# --- writing ----------------------------------------------------------------------------------------------------------


def format_conda_lock(
    packages: Iterable[CondaPackage],
    *,
    channels: Iterable[str],
    content_hashes: Mapping[str, str],
    sources: Iterable[str] = (),
) -> str:
    """Return the text of a conda-lock file.

    Args:
        packages: of all platforms.
        channels: as they were asked for, the first with the highest priority.
        content_hashes: subdir (`linux-64`) → digest of what was asked for it; its keys are the platforms of the file.
        sources: files that it was made from, relative to the folder of the lock file.
    """
    import yaml

    document = {
        "version": 1,
        "metadata": {
            "content_hash": dict(sorted(content_hashes.items())),
            "channels": [{"url": each, "used_env_vars": list(variables([each]))} for each in channels],
            "platforms": sorted(content_hashes),
            "sources": list(sources),
        },
        "package": [_entry(each) for each in sorted(packages, key=lambda each: (each.name, SUBDIRS[each.platform]))],
    }
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    # Without a limit of the line's length: C and Python writers would break long lines at different places.
    return HEADER + yaml.dump(document, Dumper=dumper, sort_keys=False, width=1_000_000, allow_unicode=True)


def _entry(package: CondaPackage) -> dict[str, Any]:
    return {
        "name": package.name,
        "version": package.version,
        "manager": "conda",
        "platform": SUBDIRS[package.platform],
        "dependencies": _dependencies(package.depends),
        "url": package.url,
        "hash": {"md5": package.md5, "sha256": package.sha256} if package.md5 else {"sha256": package.sha256},
        "build": package.build,
        "category": "main",
        "optional": False,
    }


def _dependencies(depends: Iterable[str]) -> dict[str, str]:
    """Return name → version and build; the format has one entry a name, so what is said of one name is joined."""
    found: dict[str, tuple[str, str]] = {}
    for text in depends:
        name, version, build = [*text.split(None, 2), "", ""][:3]
        before = found.get(name, ("", ""))
        versions = [each for each in (before[0], version) if each not in ("", "*")]
        found[name] = (",".join(versions) or version or before[0], build or before[1])
    return {name: " ".join(part for part in parts if part) for name, parts in sorted(found.items())}


def normal_depends(depends: Iterable[str]) -> tuple[str, ...]:
    """Return match specs as a file keeps them: sorted, one a name."""
    return tuple(f"{name} {rest}".rstrip() for name, rest in _dependencies(depends).items())


# --- reading ----------------------------------------------------------------------------------------------------------


class _Hash(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}(?!\n)$")]
    md5: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}(?!\n)$")] = ""


class _Package(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: _Name
    version: _Version
    manager: Literal["conda"]
    platform: str
    url: _Url
    hash: _Hash
    build: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.+]*(?!\n)$", max_length=255)]
    dependencies: dict[str, str] = {}
    category: Literal["main"] = "main"
    optional: Literal[False] | bool = False


class _Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: _Text
    used_env_vars: tuple[Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(?!\n)$")], ...] = ()


class _Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    content_hash: dict[str, str]
    channels: list[_Channel]
    platforms: list[str]
    sources: list[str] = []


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    metadata: _Metadata
    package: list[_Package]


def parse_conda_lock(text: str, *, file: str = "", platforms: Iterable[str] = ()) -> tuple[CondaPackage, ...]:
    """Return the packages of a text that `format_conda_lock` wrote, sorted by name and subdir.

    Args:
        text: of the file.
        file: named in errors.
        platforms: those that were locked, in OCI's words, to which subdirs are led back (`linux-aarch64` has two).

    Raises:
        LockError: it has a merge conflict, is not YAML, or not of that form.
    """
    shown = file or "the conda-lock file"
    line = find_conflict(text)
    if line is not None:
        where = Location(file=shown, line=line)
        raise LockError(
            f"{shown.rpartition('/')[2]} has an unresolved merge conflict", where=where, remedy=_CONFLICT_REMEDY
        )
    content = _load(text, shown)
    names = {subdir: platform for platform, subdir in reversed(SUBDIRS.items())}
    names.update({SUBDIRS[each]: each for each in platforms if each in SUBDIRS})
    found: dict[tuple[str, str], CondaPackage] = {}
    for index, each in enumerate(content.package):
        key = (each.name, each.platform)
        if each.platform not in names or each.platform not in content.metadata.platforms or key in found:
            field = f"package[{index}]"
            raise LockError(_NOT_OURS, where=Location(file=shown, field=field), remedy=_REMEDY)
        package = CondaPackage(
            name=each.name,
            version=each.version,
            build=each.build,
            platform=names[each.platform],
            url=each.url,
            sha256=each.hash.sha256,
            md5=each.hash.md5,
            depends=tuple(f"{name} {rest}".rstrip() for name, rest in each.dependencies.items()),
        )
        if package.subdir not in (each.platform, "noarch"):
            where = Location(file=shown, field=f"package[{index}].url")
            raise LockError(
                f"{each.name} for {each.platform} has a file of another platform", where=where, remedy=_REMEDY
            )
        found[key] = package
    return tuple(package for _, package in sorted(found.items()))


_NOT_OURS = "an entry is not of the form that packager writes"
_CONFLICT_REMEDY = "take one side of it, delete the other, and run `packager lock`"


def _load(text: str, shown: str) -> _File:
    import yaml

    name = shown.rpartition("/")[2]
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return convert(yaml.load(text, Loader=loader), _File)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "a character is not allowed in it"
        where = Location(file=shown, line=mark.line + 1 if mark else None, column=mark.column + 1 if mark else None)
        raise LockError(f"{name} is not valid YAML: {reason}", where=where, remedy=_REMEDY) from None
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        where = Location(file=shown, field=path.rstrip("`").removeprefix("$").removeprefix(".") or None)
        raise LockError(f"{name} is not of packager's form: {message}", where=where, remedy=_REMEDY) from None
    except (RecursionError, ValueError):  # ValueError: a date that is none, a number that is too long
        raise LockError(f"{name} is not of packager's form", where=Location(file=shown), remedy=_REMEDY) from None
