"""`packager.yaml` to `Spec`: types by msgspec, then what types cannot say; every error names file, line and field."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from packager.decoding import convert
from packager.errors import Location, SpecError
from packager.spec import model as m
from packager.spec.document import Document, parse_yaml, read_text
from packager.spec.find import DEFAULT_FILE, NAMES, spec_in
from packager.spec.laid import Laid
from packager.spec.mistyped import explain
from packager.spec.rules import check_rules

_Kind = TypeVar("_Kind")

#: msgspec 0.22 looks at a type when it is first used; two threads that do so at once end the process.
_FIRST_USE = threading.Lock()

LOCK_NAME = "packager.lock"
#: The JSON Schema beside a spec, where `packager init` writes it for editors; it is in no image.
SCHEMA_NAME = "packager.schema.json"


class SpecFile(msgspec.Struct, frozen=True, kw_only=True):
    """A spec together with the file that it stands in.

    Attributes:
        spec: the checked declaration.
        document: the text's data and the line of each field, for the errors of later steps.
        target: the one that `spec` is for; None for the spec of all.
        whole: the spec of all, where `spec` is for one.
        other_base: what `--base` is without it: a user's default, where the spec names no base.
        laid: what the models name that are registered (`sklearn_mnist`, `tokenizer:3`) → where it is on this machine,
            once it is; their paths lead there then.
        laid_environment: the same of the environment's.
    """

    spec: m.Spec
    document: Document
    target: str | None = None
    whole: m.Spec | None = None
    other_base: str | None = None
    laid: Mapping[str, Laid] = {}
    laid_environment: Laid | None = None

    @property
    def root(self) -> Path:
        """The folder of the spec: every path in it is relative to this one, and stays inside."""
        return self.document.path.absolute().parent

    @property
    def lock_path(self) -> Path:
        """The lock beside the spec: `packager.lock`, and `NAME.packager.lock` of a spec that is called `NAME.yaml`.

        Two specs in one folder have locks of their own so. A `packager.lock` that has no spec of its own name beside it
        was made for this one, before locks had names.
        """
        lock, stem = self.root / LOCK_NAME, self.document.path.stem
        own = self.root / f"{stem}.{LOCK_NAME}"
        if stem == Path(DEFAULT_FILE).stem or (lock.exists() and not own.exists() and not self._has_default_beside):
            return lock
        return own

    @property
    def _has_default_beside(self) -> bool:
        return any((self.root / name).exists() for name in NAMES)

    @property
    def templates(self) -> Path:
        """The folder beside the spec that may have targets and templates of the user's; it need not be there."""
        return self.root / "templates"

    def at(self, field: str) -> Location:
        """Return file and line of a field; of the one that the target has of its own, where it has."""
        own = f"targets.{self.target}.{field}"
        return self.document.at(own if field.partition(".")[0] in _OWN_FIELDS and own in self.document.lines else field)

    def at_target(self, name: str) -> Location:
        """Return file and line of where the spec names a target."""
        spec = self.whole or self.spec
        index = spec.target_names.index(name) if name in spec.target_names else 0
        return self.at(f"targets.{name}" if isinstance(spec.targets, dict) else f"targets[{index}]")

    def for_target(self, name: str) -> SpecFile:
        """Return the spec as it is for one target (see `Spec.for_target`)."""
        whole = self.whole or self.spec
        return msgspec.structs.replace(self, spec=whole.for_target(name), target=name, whole=whole)

    @property
    def every_model(self) -> tuple[m.Model, ...]:
        """The models of the spec, and those that only some target has."""
        whole = self.whole or self.spec
        own = (each for name in whole.target_names for each in whole.target_options(name).models)
        return tuple(dict.fromkeys((*whole.models, *own)))

    @property
    def registers(self) -> bool:
        """Whether it names what is registered: a model, or the environment."""
        return self.registered_environment is not None or any(each.registered for each in self.every_model)

    @property
    def registered_environment(self) -> str | None:
        """The registered environment that it names (`sklearn-env:2`)."""
        environment = self.spec.environment
        return environment.registered if isinstance(environment, m.InlineEnvironment) else None

    @property
    def model_paths(self) -> tuple[str, ...]:
        """The paths of all models that are the user's files."""
        return tuple(each.path for each in self.every_model if each.registered is None)

    def above(self, model: m.Model) -> Path:
        """Return the folder that nothing of a model leads out of: that of the spec, or a registered model's own."""
        return self.root if model.registered is None else self.laid[model.registered].folder

    def at_model(self, model: m.Model, field: str = "path") -> Location:
        """Return file and line of a field of a model."""
        if field == "path" and model.registered is not None:
            field = "registered"
        whole = self.whole or self.spec
        lists = {"models": whole.models}
        if self.target is not None:
            lists = {f"targets.{self.target}.models": whole.target_options(self.target).models} | lists
        for start, models in lists.items():
            if model in models:
                return self.document.at(f"{start}[{models.index(model)}].{field}")
        return self.document.at("models")


def is_spec(data: object) -> bool:
    """Whether the values of a file are a spec, whatever it is called, with faults or without."""
    fields = {field.encode_name for field in msgspec.structs.fields(m.Spec)}
    return isinstance(data, dict) and {"name", "version"} <= data.keys() <= fields and len(data) > 2


#: Fields that a target may have of its own, under the same name.
_OWN_FIELDS = ("base", "python", "env", "system_packages")


def load_spec(path: Path | str = DEFAULT_FILE) -> SpecFile:
    """Read and check a spec.

    Args:
        path: the file, or the folder that holds a `packager.yaml` or `packager.yml`.

    Raises:
        SpecError: with file, line, field, and what to do.
    """
    path = Path(path)
    if path.is_dir():
        path = spec_in(path)
    return parse_spec(read_text(path), path)


def parse_spec(text: str, path: Path) -> SpecFile:
    """Check the text of a spec; `path` is used in messages and to find the folder."""
    document = _document(text, path)
    spec = _with_default_tags(typed(document, m.Spec), document)
    check_rules(spec, document)
    return SpecFile(spec=spec, document=document)


def _document(text: str, path: Path) -> Document:
    try:
        return parse_yaml(text, path)
    except SpecError:
        if path.suffix in ("", ".yaml", ".yml", ".json"):
            raise
        # Whoever names the script or the model means the package that it belongs to.
        role = "entry_script" if path.suffix == ".py" else "a model's path"
        raise SpecError(
            f"{path.name} is no spec",
            where=Location(file=str(path)),
            remedy=f"name a packager.yaml, or its folder, in which {path.name} is named ({role}); "
            "`packager init` writes one",
        ) from None


def typed(document: Document, kind: type[_Kind]) -> _Kind:
    """Return what a declaration says as a value of its type.

    Raises:
        SpecError: an unknown key, or a value of another type, with its line.
    """
    try:
        with _FIRST_USE:
            return convert(document.data, kind)
    except msgspec.ValidationError as error:
        raise explain(error, document, kind) from None


def _with_default_tags(spec: m.Spec, document: Document) -> m.Spec:
    """Return the spec with tags that tell its targets apart, where it has several and gives no tags."""
    if len(spec.targets) < 2 or "image.tags" in document.lines:
        return spec
    return msgspec.structs.replace(spec, image=msgspec.structs.replace(spec.image, tags=m.TAGS_OF_SEVERAL))
