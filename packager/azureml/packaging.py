"""From v1's models and configurations to a package, an image or a build context; done by packager's steps."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from packager.azureml import records
from packager.azureml.calling import LINES, tell
from packager.azureml.core.environment_sections import AZURE_BASES
from packager.azureml.exceptions import WebserviceException
from packager.spec.load import SpecFile
from packager.steps import v1_images
from packager.steps.declared import (
    NAME_LENGTH,
    NO_CODE,
    Declared,
    DeclaredModel,
    package_name,
)
from packager.steps.reporting import Reporter
from packager.workspace.base import NotRegisteredError

if TYPE_CHECKING:
    from packager.azureml.core.environment import Environment
    from packager.azureml.core.inference_config import InferenceConfig
    from packager.azureml.core.model import Model
    from packager.azureml.core.model_package import ModelPackage
    from packager.azureml.core.workspace import Workspace

#: v1's variable of an example, which every `Environment` has.
_EXAMPLE = "EXAMPLE_ENV_VAR"


def find_models(workspace: Workspace, models: Sequence[Any]) -> tuple[Model | Path, ...]:
    """Return what v1 takes as models: objects, `name:version`, and paths of this machine.

    Raises:
        WebserviceException: one is something else, is another workspace's, or nowhere.
    """
    from packager.azureml.core.model import Model

    require_list(models)
    found: list[Model | Path] = []
    for each in models:
        if isinstance(each, Model):
            if each.workspace._facade.location != workspace._facade.location:
                raise WebserviceException(
                    f"the model {each.id} is of the workspace {each.workspace.name}, and not of {workspace.name}"
                )
            found.append(each)
        elif isinstance(each, str | os.PathLike):
            found.append(_named(workspace, os.fspath(each)))
        else:
            raise WebserviceException(
                "Models must either be of type azureml.core.Model or a str path to a file or folder."
            )
    return tuple(found)


def require_list(models: Any) -> None:
    """Refuse what is no list of models: one model, or none.

    Raises:
        WebserviceException: it is no list.
    """
    if not isinstance(models, Sequence) or isinstance(models, str):
        raise WebserviceException(f"models is a list of them, and {type(models).__name__} is none: models=[model]")


def _named(workspace: Workspace, text: str) -> Model | Path:
    from packager.azureml.core.model import Model

    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*:\d+", text):
        try:
            return Model._of(workspace, workspace._facade.models.get(text))
        except NotRegisteredError:
            pass  # a file may be called so
    if not os.path.exists(text):
        raise WebserviceException(f"{text} is neither a registered model nor a file or folder that is there")
    return Path(text)


def declare(
    workspace: Workspace,
    name: str,
    models: Sequence[Any],
    config: InferenceConfig | None,
    *,
    server: dict[str, Any] | None = None,
    service: dict[str, Any] | None = None,
    beside: Iterable[Path] = (),
) -> Declared:
    """Return what v1's objects declare.

    Args:
        workspace: that has the models.
        name: of the package.
        models: as v1 takes them.
        config: the entry script; None for a model without code.
        server: fields of the spec's `server`.
        service: fields of the spec's `service`.
        beside: files that go beside the entry script.

    Raises:
        WebserviceException: something of it cannot be packaged.
    """
    declared = Declared(
        name=package_name(name),
        workspace=workspace._facade.location,
        models=declared_models(workspace, models, code=config is not None),
        server=server or {},
        service=service or {},
        beside=tuple(beside),
    )
    if config is None:
        return declared
    if config.extra_docker_file_steps:
        raise WebserviceException(
            f"extra_docker_file_steps ({config.extra_docker_file_steps}) are lines of a Dockerfile that packager does "
            "not run: build an image of them, and name it as base_image; or name Debian packages in a packager.yaml"
        )
    environment = config._environment()
    return msgspec.structs.replace(
        declared,
        entry_script=config.entry_script,
        source_dir=Path(config.source_directory) if config.source_directory else None,
        target="gpu" if config.enable_gpu or config.cuda_version else "cpu",
        description=config.description or "",
        **of_environment(environment),
    )


def of_environment(environment: Environment) -> dict[str, Any]:
    """Return the fields of `Declared` that an environment says.

    Raises:
        WebserviceException: it is made of something that packager does not build.
    """
    python, docker = environment.python, environment.docker
    if docker.base_dockerfile or docker.build_context:
        raise WebserviceException(
            f"the environment {environment.name} stands on a Dockerfile, which packager does not build: `docker build` "
            "it, and name the image: docker.base_image"
        )
    base = docker.base_image if docker.base_image and not docker.base_image.startswith(AZURE_BASES) else None
    packages = python.conda_dependencies
    if python.user_managed_dependencies or packages is None:
        raise WebserviceException(
            f"the environment {environment.name} takes the packages of its base image, whatever they are, and packager "
            "installs what is locked: name them in conda_dependencies, and set user_managed_dependencies = False"
        )
    if packages.python_is_default:
        tell(f"{environment.name} asks for no version of Python: taking packager's own (set_python_version() asks)")
    conda = packages.as_dict()
    if packages.python_is_default:
        conda["dependencies"] = [each for each in conda["dependencies"] if each != packages.default_python]
    env = {name: value for name, value in environment.environment_variables.items() if name != _EXAMPLE}
    return {"conda": conda, "base": base, "env": env}


@contextmanager
def laid(
    workspace: Workspace, declared: Declared, kind: str, *, place: str | None = None, reporter: Reporter = LINES
) -> Iterator[SpecFile]:
    """Lay a package out and lock it, in the folder that it has beside the workspace; nobody else remakes it meanwhile.

    Args:
        workspace: beside which it is.
        declared: what it is made of.
        kind: of the folder.
        place: name of the folder; the package's where None.
        reporter: is told what is done.

    Raises:
        PackagerError: see `packager.steps.declared.package_of`.
    """
    with v1_images.laid(records.root(workspace), declared, kind, place=place, reporter=reporter) as spec_file:
        yield spec_file


def build_image(
    workspace: Workspace, declared: Declared, kind: str, reference: str, *, place: str | None = None
) -> SpecFile:
    """Build the image of what is declared into the engine, and return its spec.

    Args:
        workspace: beside which it is laid out.
        declared: what it is made of.
        kind: of the folder.
        reference: of the image.
        place: as of `laid`.

    Raises:
        PackagerError: see `packager.steps.declared.package_of` and `packager.steps.build.build`.
    """
    with laid(workspace, declared, kind, place=place) as spec_file:
        v1_images.build_laid(spec_file, reference, reporter=LINES)
    return spec_file


def make_package(
    workspace: Workspace,
    models: Sequence[Any],
    config: InferenceConfig | None,
    generate_dockerfile: bool,
    image_name: str | None,
    image_label: str | None,
) -> ModelPackage:
    """Make what `Model.package` returns.

    Raises:
        WebserviceException, PackagerError: it cannot be packaged.
    """
    from packager.azureml.core.model_package import ModelPackage

    label = image_label or time.strftime("%Y%m%d%H%M%S", time.gmtime())
    reference = f"{image_name or 'package'}:{label}"
    declared = declare(workspace, image_name or "package", models, config)
    # What is saved later is what was packaged now, whatever is packaged meanwhile.
    place = f"{declared.name}-{package_name(label)}"
    if generate_dockerfile:
        with laid(workspace, declared, "packages", place=place) as spec_file:
            location = str(spec_file.root)
    else:
        prefix = workspace._facade.location
        pushed = prefix.startswith("oci://")
        location = f"{prefix.removeprefix('oci://').rstrip('/')}/{reference}" if pushed else reference
        spec_file = build_image(workspace, declared, "packages", location, place=place)
        if pushed:
            from packager.steps.push import push

            push([location], reporter=LINES)
    return ModelPackage._made(workspace, spec_file, location, generate_dockerfile)


def build_environment(workspace: Workspace, environment: Environment, *, docker: bool, reporter: Reporter) -> Any:
    """Lock an environment, and lay it down on this machine or build an image of it; return the folder, or the image.

    Raises:
        WebserviceException, PackagerError: it cannot be locked or laid down.
    """
    from packager.steps.environment import create_environment

    name = package_name(environment.name)
    script = records.folder(workspace, "environments") / f"{name}-score.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    # An image has an entry script; this one answers with what it gets.
    script.write_text("def init():\n    pass\n\n\ndef run(data):\n    return data\n", encoding="utf-8")
    declared = Declared(name=name, entry_script=str(script), **of_environment(environment))
    if docker:
        build_image(workspace, declared, "environments", f"{name}:latest")
        tell(f"the image {name}:latest has the environment {environment.name}")
        return f"{name}:latest"
    prefix = records.folder(workspace, "environments") / f"{name}-prefix"
    with laid(workspace, declared, "environments", reporter=reporter) as spec_file:
        create_environment(spec_file, prefix, force=True, reporter=reporter)
    tell(f"the environment {environment.name} is in {prefix}")
    return str(prefix)


def declared_models(workspace: Workspace, models: Sequence[Any], *, code: bool = True) -> tuple[DeclaredModel, ...]:
    """Return models as they are declared.

    Args:
        workspace: that has them.
        models: as v1 takes them.
        code: they have an entry script.

    Raises:
        WebserviceException: one is none, two are the same, or one needs an entry script.
    """
    found = find_models(workspace, models)
    if not code:
        _require_no_code(found)
    declared = tuple(_declared(each, code=code) for each in found)
    _refuse_equal(declared)
    return declared


def _declared(model: Model | Path, *, code: bool) -> DeclaredModel:
    if isinstance(model, Path):
        return DeclaredModel(path=model.absolute(), name=model.resolve().name[:NAME_LENGTH])
    framework = NO_CODE.get(model.model_framework or "") if not code else None
    return DeclaredModel(
        registered=model.id,
        framework=framework,
        framework_version=model.model_framework_version if framework in ("sklearn", "tensorflow") else None,
    )


def _require_no_code(models: tuple[Model | Path, ...]) -> None:
    """Refuse what needs an entry script.

    Raises:
        WebserviceException: there are several models, or one whose framework nothing serves by itself.
    """
    model = models[0] if len(models) == 1 else None
    if model is None or isinstance(model, Path):
        raise WebserviceException(
            "without an InferenceConfig it is one registered model whose model_framework says how to serve it"
        )
    if model.model_framework not in NO_CODE:
        framework = model.model_framework or "Custom"
        raise WebserviceException(
            f"the model {model.id} has the framework {framework}, which needs an InferenceConfig; without one it is "
            f"{', '.join(NO_CODE)}"
        )


def _refuse_equal(models: tuple[DeclaredModel, ...]) -> None:
    names = [each.registered or f"{each.name}:0" for each in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise WebserviceException(
            f"the model {twice.removesuffix(':0')} is given twice: register one under another name"
        )
