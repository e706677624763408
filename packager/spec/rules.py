"""What the types of the spec cannot say: paths that leave, names given twice, references and tags."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from typing import Literal

import msgspec

from packager.errors import PackagerError, SpecError
from packager.images.reference import Reference
from packager.spec import model as m
from packager.spec.document import Document

#: Variables that the image sets from other fields of the spec; setting them beside it would only break the contract.
RESERVED_ENV = {
    "AML_APP_ROOT": "the app is always at /var/azureml-app",
    "AZUREML_MODEL_DIR": "it follows from `models`",
    "AZUREML_ENTRY_SCRIPT": "use `entry_script`",
    "AZUREML_SOURCE_DIRECTORY": "use `source_dir`",
    "WORKER_COUNT": "use `server.workers`",
    "WORKER_TIMEOUT": "use `server.timeout`",
    "PATH": "the environment's programs must come first in it",
}

TAG_FORM = "letters, digits, `.`, `_`, `-`, at most 128 of them: the version becomes an image tag"


def check_rules(spec: m.Spec, document: Document) -> None:
    """Refuse a spec whose fields are well formed and do not fit together.

    Raises:
        SpecError: the first thing found, with its file, line and field.
    """
    for field, path in _paths(spec):
        _inside(path, field, document)
    _check_models(spec, document)
    _check_names(spec, document)
    if not spec.targets:
        raise SpecError("no target is named", where=document.at("targets"), remedy="`targets: [cpu]` is the default")
    if len(set(spec.target_names)) != len(spec.target_names):
        raise SpecError("a target is named twice", where=document.at("targets"), remedy="keep one of them")
    if not spec.entry_script.endswith(".py"):
        raise SpecError(
            f"{spec.entry_script!r} is not a Python file",
            where=document.at("entry_script"),
            remedy="name the .py file that has init() and run()",
        )
    _check_image(spec, document)
    _check_tests(spec, document)


def _paths(spec: m.Spec) -> list[tuple[str, str]]:
    paths = [("entry_script", spec.entry_script), ("source_dir", spec.source_dir)]
    paths += [(f"models[{index}].path", model.path) for index, model in enumerate(spec.models)]
    if isinstance(spec.environment, str):
        paths.append(("environment", spec.environment))
    for index, case in enumerate(spec.test):
        files = {"file": case.file, "expect.file": case.expect.file, "expect.schema": case.expect.schema}
        paths += [(f"test[{index}].{field}", path) for field, path in files.items() if isinstance(path, str)]
    return paths


def _inside(path: str, field: str, document: Document) -> None:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or re.match(r"^[A-Za-z]:/", path):
        raise SpecError(
            f"{path!r} leaves the folder of the spec",
            where=document.at(field),
            remedy="use a path below that folder; move or copy the file there if it is elsewhere",
        )


def _check_models(spec: m.Spec, document: Document) -> None:
    seen: dict[tuple[str, int], int] = {}
    for index, model in enumerate(spec.models):
        field = f"models[{index}]"
        if not re.match(m.MODEL_NAME, model.called):
            raise SpecError(
                f"no model name follows from {model.path!r}",
                where=document.at(field),
                remedy="add `name:` to the model",
            )
        key = (model.called, model.version)
        if key in seen:
            raise SpecError(
                f"the model {model.called!r} version {model.version} is given twice (models[{seen[key]}] and {field})",
                where=document.at(f"{field}.name"),
                remedy="give each model its own `name`, or each version its own `version`",
            )
        seen[key] = index


def _check_names(spec: m.Spec, document: Document) -> None:
    for name in spec.env:
        field = f"env.{name}"
        if not re.match(m.ENV_NAME, name):
            raise SpecError(
                f"{name!r} is not a name of an environment variable",
                where=document.at(field),
                remedy="letters, digits and `_`, not starting with a digit",
            )
        if name in RESERVED_ENV:
            raise SpecError(f"{name} is set by packager", where=document.at(field), remedy=RESERVED_ENV[name])
    repeated = {each for each in spec.system_packages if spec.system_packages.count(each) > 1}
    if repeated:
        raise SpecError(f"{sorted(repeated)[0]!r} is given twice", where=document.at("system_packages"))


def _check_image(spec: m.Spec, document: Document) -> None:
    if spec.image.repository is not None:
        _reference(spec.image.repository, "image.repository", document, kind="repository")
    if spec.base is not None:
        _reference(spec.base, "base", document, kind="image")
    for source, mirror in spec.registry_mirrors.items():
        for registry in (source, mirror):
            _reference(f"{registry}/x", f"registry_mirrors.{source}", document, kind="registry")
    for index, tag in enumerate(spec.image.tags):
        field = f"image.tags[{index}]"
        for placeholder in m.PLACEHOLDER.findall(tag):
            if placeholder not in m.TAG_FIELDS:
                raise SpecError(
                    f"tags know no {{{placeholder}}}",
                    where=document.at(field),
                    remedy=f"known: {', '.join('{' + each + '}' for each in m.TAG_FIELDS)}",
                )
        try:
            m.expand_tag(tag, name=spec.name, version=spec.version, target="cpu", platform="linux/amd64")
        except ValueError as error:
            raise SpecError(str(error), where=document.at(field), remedy=TAG_FORM) from None


def _check_tests(spec: m.Spec, document: Document) -> None:
    names = [case.name for case in spec.test]
    for index, case in enumerate(spec.test):
        field = f"test[{index}]"
        if names.index(case.name) != index:
            raise SpecError(
                f"the test {case.name!r} is given twice",
                where=document.at(f"{field}.name"),
                remedy="give each a name of its own",
            )
        _one_of(case, ("request", "text", "file"), field, document)
        _one_of(case.expect, ("body", "text", "file"), f"{field}.expect", document)
        for name, value in (("request", case.request), ("expect.body", case.expect.body)):
            _is_json(value, f"{field}.{name}", document)
        for part, headers in (("headers", case.headers), ("expect.headers", case.expect.headers)):
            for header in headers:
                if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", header):
                    raise SpecError(f"{header!r} is no name of a header", where=document.at(f"{field}.{part}.{header}"))
        if case.request is msgspec.UNSET and case.text is None and case.file is None and case.content_type:
            raise SpecError(
                "there is a content type and no body",
                where=document.at(f"{field}.content_type"),
                remedy="add `request:`, `text:` or `file:`",
            )


def _one_of(part: m.Case | m.Expect, fields: tuple[str, ...], field: str, document: Document) -> None:
    given = [name for name in fields if getattr(part, name) not in (None, msgspec.UNSET) or _is_null(part, name)]
    if len(given) > 1:
        raise SpecError(
            f"{' and '.join(given)} are two bodies", where=document.at(f"{field}.{given[1]}"), remedy="keep one of them"
        )


def _is_null(part: m.Case | m.Expect, name: str) -> bool:
    return name in ("request", "body") and getattr(part, name) is None


def _is_json(value: object, field: str, document: Document) -> None:
    if value is msgspec.UNSET:
        return
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise SpecError("JSON knows no such number", where=document.at(field), remedy="write null, or text") from None


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
