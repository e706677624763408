"""What the types of the spec cannot say: paths that leave, names given twice, references and tags."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Literal

from packager.contract import APP_ROOT, MODELS_FOLDER
from packager.errors import Location, PackagerError, SpecError
from packager.reference import Reference
from packager.spec import model as m
from packager.spec import texts
from packager.spec.case_rules import check_cases
from packager.spec.cases import FormFile
from packager.spec.channel import check_channel
from packager.spec.document import Document
from packager.spec.no_code_rules import check_no_code
from packager.spec.registered_rules import check_environment, check_registered
from packager.spec.service_rules import check_service
from packager.spec.tags import PLACEHOLDER, TAG_FIELDS, expand_tag

NO_KEY = "no key is ever in an image: the container gets it when it starts (`packager run`, or a mounted secret)"

#: Variables that the image sets from other fields of the spec; setting them beside it would only break the contract.
RESERVED_ENV = {
    "AML_APP_ROOT": f"the app is always at {APP_ROOT}",
    "AZUREML_MODEL_DIR": "it follows from `models`",
    "AZUREML_ENTRY_SCRIPT": "use `entry_script`",
    "AZUREML_SOURCE_DIRECTORY": "use `source_dir`",
    "WORKER_COUNT": "use `server.workers`",
    "WORKER_TIMEOUT": "use `server.timeout`",
    "SCORING_TIMEOUT_MS": "use `server.scoring_timeout`, in seconds",
    "AML_CORS_ORIGINS": "use `server.cors_origins`, a list",
    "PACKAGER_AUTH": "use `server.auth`",
    "PACKAGER_MAX_BODY": "use `server.max_body`",
    "PACKAGER_MAX_QUEUE_WAIT_MS": "use `service.max_queue_wait`, in seconds",
    "PACKAGER_KEYS_FILE": NO_KEY,
    "PACKAGER_PRIMARY_KEY": NO_KEY,
    "PACKAGER_SECONDARY_KEY": NO_KEY,
    "PATH": "the environment's programs must come first in it",
}

#: Names the configuration file of packager's, among other things.
GUNICORN_VARIABLE = "GUNICORN_CMD_ARGS"

_VIRTUAL = re.compile(r"__[a-z0-9_]{1,64}")
# `__archspec` has its value in the build string: `1=x86_64_v3`.
_VIRTUAL_VERSION = re.compile(r"[A-Za-z0-9_.+!]{1,64}(?:=[A-Za-z0-9_.+]{1,64})?")

TAG_FORM = "letters, digits, `.`, `_`, `-`, at most 128 of them: the version becomes an image tag"


def check_rules(spec: m.Spec, document: Document) -> None:
    """Refuse a spec whose fields are well formed and do not fit together.

    Raises:
        SpecError: the first thing found, with its file, line and field.
    """
    for field, path in _paths(spec):
        _inside(path, field, document)
    _check_models(spec.models, "models", document)
    _check_names(spec.env, spec.system_packages, "", document)
    if isinstance(spec.environment, m.InlineEnvironment):
        check_environment(spec.environment, document)
        for name, value in spec.environment.variables.items():
            check_variable(name, value, document.at(f"environment.variables.{name}"))
    if not spec.targets:
        raise SpecError("no target is named", where=document.at("targets"), remedy="`targets: [cpu]` is the default")
    if len(set(spec.target_names)) != len(spec.target_names):
        raise SpecError("a target is named twice", where=document.at("targets"), remedy="keep one of them")
    check_no_code(spec, document)
    if spec.entry_script is not None and not spec.entry_script.endswith(".py"):
        raise SpecError(
            f"{spec.entry_script!r} is not a Python file",
            where=document.at("entry_script"),
            remedy="name the .py file that has init() and run()",
        )
    if spec.keep_source_dir:
        _check_kept(spec, document)
    _check_server(spec, document)
    check_service(spec, document)
    _check_image(spec, document)
    _check_conda(spec, document)
    _check_targets(spec, document)
    check_cases(spec, document)


def _paths(spec: m.Spec) -> list[tuple[str, str]]:
    paths = [("entry_script", spec.script), ("source_dir", spec.source_dir)]
    paths += [(f"models[{index}].path", each.path) for index, each in enumerate(spec.models) if each.path]
    if isinstance(spec.environment, str):
        paths.append(("environment", spec.environment))
    if spec.conda.name_map is not None:
        paths.append(("conda.name_map", spec.conda.name_map))
    for index, case in enumerate(spec.test):
        files = {"file": case.file, "expect.file": case.expect.file, "expect.schema": case.expect.schema}
        paths += [(f"test[{index}].{field}", path) for field, path in files.items() if isinstance(path, str)]
        form = (case.form or {}).items()
        paths += [(f"test[{index}].form.{name}", part.file) for name, part in form if isinstance(part, FormFile)]
    return paths


def _inside(path: str, field: str, document: Document) -> None:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or re.match(r"^[A-Za-z]:/", path):
        raise SpecError(
            f"{path!r} leaves the folder of the spec",
            where=document.at(field),
            remedy="use a path below that folder; move or copy the file there if it is elsewhere",
        )


def _check_models(models: tuple[m.Model, ...], start: str, document: Document) -> None:
    seen: dict[tuple[str, str], int] = {}
    for index, model in enumerate(models):
        field = f"{start}[{index}]"
        check_registered(model, field, document)
        if not re.match(texts.MODEL_NAME, model.called):
            raise SpecError(
                f"no model name follows from {model.shown!r}",
                where=document.at(field),
                remedy="add `name:` to the model",
            )
        version = str(model.version) if model.registered is None else model.registered.partition(":")[2] or "latest"
        key = (model.called, version)
        if key in seen:
            raise SpecError(
                f"the model {model.called!r} version {version} is given twice ({start}[{seen[key]}] and {field})",
                where=document.at(f"{field}.name"),
                remedy="give each model its own `name`, or each version its own `version`",
            )
        seen[key] = index


def check_variable(name: str, value: str, where: Location) -> None:
    """Refuse an environment variable that the image cannot have.

    Raises:
        SpecError: the name is not one or is set by packager, or the value has control characters or no end.
    """
    if not re.match(texts.ENV_NAME, name):
        raise SpecError(
            f"{name!r} is not a name of an environment variable",
            where=where,
            remedy="letters, digits and `_`, not starting with a digit",
        )
    if name in RESERVED_ENV:
        raise SpecError(f"{name} is set by packager", where=where, remedy=RESERVED_ENV[name])
    if not re.match(texts.PRINTABLE, value) or len(value) > texts.MAX_TEXT:
        raise SpecError(
            f"the value of {name} is not a line of text", where=where, remedy="no line breaks, no control characters"
        )


def _check_names(env: Mapping[str, str], system_packages: tuple[str, ...], start: str, document: Document) -> None:
    for name, value in env.items():
        check_variable(name, value, document.at(f"{start}env.{name}"))
    repeated = {each for each in system_packages if system_packages.count(each) > 1}
    if repeated:
        raise SpecError(f"{sorted(repeated)[0]!r} is given twice", where=document.at(f"{start}system_packages"))


def _check_kept(spec: m.Spec, document: Document) -> None:
    name = posixpath.basename(spec.app_folder)
    if spec.entry_script is None or spec.app_folder == APP_ROOT or name in ("", ".", MODELS_FOLDER):
        raise SpecError(
            "only a source directory with a name of its own can keep it",
            where=document.at("keep_source_dir"),
            remedy=f"`source_dir: app` (not {MODELS_FOLDER!r}), and an `entry_script` in it; or leave the line out",
        )


def _check_server(spec: m.Spec, document: Document) -> None:
    server = spec.server
    if server.scoring_timeout is not None and server.scoring_timeout >= server.timeout:
        raise SpecError(
            f"run() would be interrupted after {server.scoring_timeout:g} s, and its worker replaced after "
            f"{server.timeout} s, which loses the answer",
            where=document.at("server.scoring_timeout"),
            remedy="`server.timeout` has to be longer than `server.scoring_timeout`",
        )
    if server.auth != "key" and not spec.service.needs_key:
        return
    variables = {"env": spec.env}
    if isinstance(spec.environment, m.InlineEnvironment):
        variables["environment.variables"] = spec.environment.variables
    for target in spec.target_names:
        variables[f"targets.{target}.env"] = spec.target_options(target).env
    for field, env in variables.items():
        if GUNICORN_VARIABLE in env:
            raise SpecError(
                f"{GUNICORN_VARIABLE} takes the place of packager's settings, which ask for the key",
                where=document.at(f"{field}.{GUNICORN_VARIABLE}"),
                remedy="put these settings into a file gunicorn.conf.py in `source_dir`, which is read beside them",
            )


def _check_image(spec: m.Spec, document: Document) -> None:
    if spec.image.repository is not None:
        _reference(spec.image.repository, "image.repository", document, kind="repository")
    if spec.base is not None:
        _reference(spec.base, "base", document, kind="image")
    for source, mirror in spec.registry_mirrors.items():
        for registry in (source, mirror):
            _reference(f"{registry}/x", f"registry_mirrors.{source}", document, kind="registry")
    _check_tags(spec, spec.image.tags, "image.tags", document)


def _check_tags(spec: m.Spec, tags: tuple[str, ...], start: str, document: Document) -> None:
    for index, tag in enumerate(tags):
        field = f"{start}[{index}]"
        for placeholder in PLACEHOLDER.findall(tag):
            if placeholder not in TAG_FIELDS:
                raise SpecError(
                    f"tags know no {{{placeholder}}}",
                    where=document.at(field),
                    remedy=f"known: {', '.join('{' + each + '}' for each in TAG_FIELDS)}",
                )
        try:
            expand_tag(tag, name=spec.name, version=spec.version, target="cpu", platform="linux/amd64")
        except ValueError as error:
            raise SpecError(str(error), where=document.at(field), remedy=TAG_FORM) from None


def _check_targets(spec: m.Spec, document: Document) -> None:
    """Refuse what differs by target where it is not usable, and two targets that would write one tag.

    Raises:
        SpecError: the first thing found, with its file, line and field.
    """
    for target, options in spec.targets.items() if isinstance(spec.targets, dict) else ():
        start = f"targets.{target}."
        for index, model in enumerate(options.models):
            _inside(model.path, f"{start}models[{index}].path", document)
        _check_models(options.models, f"{start}models", document)
        _check_names(options.env, options.system_packages, start, document)
        _check_tags(spec, options.tags or (), f"{start}tags", document)
        if options.base is not None:
            _reference(options.base, f"{start}base", document, kind="image")
    check_written_tags(spec, document, {})


def check_written_tags(spec: m.Spec, document: Document, platforms: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse two targets that would write one tag.

    Args:
        spec: the spec of all targets.
        document: its text.
        platforms: target → those that it is built for; tags with `{platform}` are passed over for the others.

    Raises:
        SpecError: the first tag found, with both targets.
    """
    written: dict[str, str] = {}
    for target in spec.target_names:
        for template in spec.for_target(target).image.tags:
            for platform in platforms.get(target, ()) if "{platform}" in template else ("",):
                tag = expand_tag(template, name=spec.name, version=spec.version, target=target, platform=platform)
                other = written.setdefault(tag, target)
                if other == target:
                    continue
                own = f"targets.{target}.tags"
                raise SpecError(
                    f"the targets {other!r} and {target!r} would both write the tag {tag!r}",
                    where=document.at(own if own in document.lines else "image.tags"),
                    remedy=f'name the target in it, such as "{template}-{{target}}", or give each its own `tags:`',
                )


def _check_conda(spec: m.Spec, document: Document) -> None:
    if spec.conda.installer_base is not None:
        _reference(spec.conda.installer_base, "conda.installer_base", document, kind="image")
    for channel, mirror in spec.conda.channel_mirrors.items():
        where = document.at(f"conda.channel_mirrors.{channel}")
        check_channel(channel, where)
        if not check_channel(mirror, where).startswith(("http://", "https://")):
            raise SpecError(
                "a mirror of a channel is a URL of http or https",
                where=where,
                remedy="https://mirror.example.com/channel",
            )
    if not isinstance(spec.targets, dict):
        return
    for target, options in spec.targets.items():
        for name, version in options.virtual_packages.items():
            where = document.at(f"targets.{target}.virtual_packages.{name}")
            if not _VIRTUAL.fullmatch(name):
                raise SpecError(
                    f"{name!r} is not a virtual package", where=where, remedy="conda's names start with `__`: __glibc"
                )
            if not _VIRTUAL_VERSION.fullmatch(version):
                raise SpecError(
                    f"{version!r} is not a version of {name}", where=where, remedy='in quotes, such as "12.4"'
                )


def _reference(text: str, field: str, document: Document, *, kind: Literal["repository", "image", "registry"]) -> None:
    try:
        parsed = Reference.parse(text)
    except PackagerError as error:
        shown = text.removesuffix("/x") if kind == "registry" else text
        raise SpecError(
            f"{shown!r} is not valid: {error.message}", where=document.at(field), remedy=error.remedy
        ) from None
    if kind == "repository" and (parsed.tag or parsed.digest):
        raise SpecError(
            f"{text!r} holds a tag or a digest", where=document.at(field), remedy="put tags under `image.tags`"
        )
