"""`templates/<target>.toml` → `Target`: a deployment flavour as data."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import msgspec

from packager.errors import Location, PackagerError, SpecError
from packager.extensions import target_folders
from packager.given import read_given
from packager.reference import Reference
from packager.resources import data_folder
from packager.similar import similar
from packager.target_file import Artefact, CondaFile, CudaFile, Kubernetes, ParsedTarget, Run, parse_target

# OCI architecture (and variant) → what `platform.machine()` says there: the same names but for these.
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "arm64/v8": "aarch64", "386": "i686"}
_ARM = re.compile(r"arm/(v[0-9]+)")


class CudaTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What a target knows of CUDA.

    Attributes:
        default: the version where the spec names none.
        bases: version → base image, with digest.
        env: environment variables; `{cuda}` in them is the version.
    """

    default: str
    bases: dict[str, Reference]
    env: dict[str, str]


class CondaTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What a target has for environments of conda.

    Attributes:
        base: the image under the environment; it needs no Python. None where it follows from the CUDA version.
        virtual_packages: name (`__cuda`) → version: what the target promises about every machine that it runs on.
        installers: `rattler` and `micromamba` → image of the stage that installs, with digest.
    """

    base: Reference | None
    virtual_packages: dict[str, str]
    installers: dict[str, Reference]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment flavour.

    Attributes:
        name: from the file's name.
        description: one line for people.
        template: file name of its Dockerfile template.
        platforms: what a spec gets that names none.
        wheels: platform → wheel tags in uv's words (`x86_64-manylinux_2_28`).
        without: platform → why it cannot be had, for those that are asked for.
        bases: Python minor version → base image, with digest unless they are to be resolved.
        unpinned: those of further minor versions, by their tags: `lock` resolves the digest and keeps it.
        env: environment variables of every image of this target.
        conda: for environments of conda; None where the target takes none.
        resolve_bases: the digests of its bases are not known here, and are resolved when it is locked.
        run: what the machine has to give to a container.
        kubernetes: how a cluster gives it.
        cuda: None where the target promises no CUDA.
        artefacts: kinds of files that must be among the models.
        files: what the context holds for people besides HANDOFF.md, each made by the template of its name.
    """

    name: str
    description: str
    template: str
    platforms: tuple[str, ...]
    wheels: dict[str, str]
    without: dict[str, str] = {}
    bases: dict[str, Reference]
    unpinned: dict[str, Reference] = {}
    env: dict[str, str]
    conda: CondaTarget | None = None
    resolve_bases: bool = False
    run: Run = Run()
    kubernetes: Kubernetes = Kubernetes()
    cuda: CudaTarget | None = None
    artefacts: tuple[Artefact, ...] = ()
    files: tuple[str, ...] = ()


def target_files(own: Path | None = None) -> dict[str, Path]:
    """Return name → file of every target, sorted: ours, those of installed packages, those beside a spec.

    Args:
        own: the folder `templates` beside a spec; its targets take the place of others of the same name.

    Raises:
        PackagerError: an installed package's targets cannot be used, or one of them has the name of another.
    """
    files = _files(data_folder("templates"))
    titles = dict.fromkeys(files, "packager itself")
    for folder, title in target_folders().items():
        for name, path in _files(folder).items():
            if name in files:
                raise PackagerError(
                    f"the targets {title} have a {name!r}, as {titles[name]} has",
                    remedy=f"name it otherwise there; {path}",
                )
            files[name], titles[name] = path, f"the package {title}"
    return dict(sorted((files | _files(own)).items()))


def _files(folder: Path | None) -> dict[str, Path]:
    return {path.stem: path for path in folder.glob("*.toml")} if folder is not None and folder.is_dir() else {}


def target_names(own: Path | None = None) -> tuple[str, ...]:
    """Return the names of all targets, sorted; of a spec's own folder `templates`, too."""
    return tuple(target_files(own))


def load_target(name: str, own: Path | None = None, where: Location | None = None) -> Target:
    """Return a target by its name; that of a spec's own folder `templates` before ours.

    Args:
        name: of the target.
        own: the folder `templates` beside a spec.
        where: it is named, for the error.

    Raises:
        SpecError: there is none, or its file is not valid.
        PackagerError: an installed package's targets cannot be used.
    """
    # Installed packages are asked for what is not at hand: looking for them takes a while.
    files = _files(data_folder("templates")) | _files(own)
    if name not in files and name not in (files := target_files(own)):
        close = similar(name, files)
        remedy = f"did you mean {close!r}?" if close else f"targets: {', '.join(files)}"
        raise SpecError(f"unknown target {name!r}", where=where, remedy=remedy)
    return read_target(files[name])


def read_target(path: Path) -> Target:
    """Read a target's file.

    Raises:
        SpecError: it cannot be read, is no regular file or leads out of its folder; it is not valid TOML, or has fields
            missing, unknown or of a wrong type.
    """
    try:
        # Ours may be links themselves, into the cache of what installed them.
        ours = path.parent == data_folder("templates")
        installed = not ours and path.parent in target_folders()
        text = read_given(path, below=None if ours or installed else path.parent.parent).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SpecError(f"the target {path} cannot be read: {reason}", remedy="put the file itself there") from None
    target = _parsed(path, text)
    if installed and (path.parent / target.template).exists():
        raise SpecError(
            f"{path}: {target.template} beside it is not read: templates of installed packages are not",
            remedy='name one of packager\'s (`template = "cpu.Dockerfile.j2"`), or put both beside the spec',
        )
    return target


@functools.cache
def _parsed(path: Path, text: str) -> Target:
    """Return the target that a text describes. Remembered: all specs of a run share a few."""
    file = parse_target(text, path)
    data = file.data
    bases = file.references(data.bases, "bases", "the base of Python {}", pinned=not data.resolve_bases)
    missing = [platform for platform in data.platforms if platform not in data.wheels]
    if missing:
        raise SpecError(
            f"there are no wheel tags for {missing[0]}", where=file.at("platforms"), remedy="add it to [wheels]"
        )
    return Target(
        name=path.stem,
        description=data.description,
        template=data.template,
        platforms=data.platforms,
        wheels=data.wheels,
        without=data.without,
        bases=bases,
        unpinned=file.references(data.unpinned, "unpinned", "the base of Python {}", pinned=False),
        env=data.env,
        conda=_conda(file, data.conda) if data.conda else None,
        resolve_bases=data.resolve_bases,
        run=data.run or Run(),
        kubernetes=data.kubernetes or Kubernetes(),
        cuda=_cuda(file, data.cuda) if data.cuda else None,
        artefacts=data.artefacts,
        files=data.files,
    )


def _conda(file: ParsedTarget, data: CondaFile) -> CondaTarget:
    if data.base is None and file.data.cuda is None:
        raise SpecError("[conda] has no base", where=file.at("conda"), remedy="name one, or a table [cuda]")
    base = None
    if data.base is not None:
        base = file.reference(data.base, "conda.base", "the base of conda", pinned=not file.data.resolve_bases)
    installers = file.references(data.installers, "conda.installers", "the installer {}", pinned=True)
    return CondaTarget(base=base, virtual_packages=data.virtual_packages, installers=installers)


def _cuda(file: ParsedTarget, data: CudaFile) -> CudaTarget:
    bases = file.references(data.bases, "cuda.bases", "the base of CUDA {}", pinned=True)
    if data.default not in bases:
        raise SpecError(
            f"[cuda.bases] has none for the default {data.default}", where=file.at("cuda.default"), remedy="add it"
        )
    return CudaTarget(default=data.default, bases=bases, env=data.env)


def cuda_version(target: Target, asked: str | None) -> str | None:
    """Return the version of CUDA that an image of a target promises: the one that is asked, or the target's own."""
    return None if target.cuda is None else asked or target.cuda.default


def machine(platform: str) -> str:
    """Return what `platform.machine()` says on an OCI platform (`linux/arm64` → `aarch64`)."""
    architecture = platform.partition("/")[2]
    arm = _ARM.fullmatch(architecture)
    return f"arm{arm[1]}l" if arm else _MACHINES.get(architecture, architecture)
