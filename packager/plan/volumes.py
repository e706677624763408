"""The registered models of an image, as its label tells them: whoever starts it knows what to mount where. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from packager.contract import APP_ROOT, MODELS_FOLDER, MODELS_LABEL
from packager.decoding import decode_json
from packager.errors import ContextError
from packager.plan.variables import model_folder
from packager.spec.model import Model, canonical


class RegisteredModel(msgspec.Struct, frozen=True, kw_only=True):
    """A registered model of an image.

    Attributes:
        name: in the workspace.
        version: there.
        digest: `sha256:…` of its content.
        delivery: `image` where a layer holds it, `volume` where it is to be mounted.
        path: the folder in the container that has its files.
    """

    name: Annotated[str, Meta(max_length=255)]
    version: Annotated[int, Meta(ge=1)]
    digest: Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}(?!\n)$")]
    delivery: Literal["image", "volume"]
    path: Annotated[str, Meta(pattern=rf"^{APP_ROOT}/{MODELS_FOLDER}/[A-Za-z0-9][A-Za-z0-9_.-]*/[0-9]+(?!\n)$")]

    @property
    def id(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"


def registered_models(models: Sequence[Model], digests: Mapping[str, str]) -> tuple[RegisteredModel, ...]:
    """Return those of a spec's models that are registered.

    Args:
        models: of the spec, with the versions that are locked.
        digests: what they name → digest of its content.
    """
    return tuple(
        RegisteredModel(
            name=model.registered.partition(":")[0],
            version=model.version,
            digest=digests[model.registered],
            delivery=model.delivery,
            path=model_folder(model.called, model.version),
        )
        for model in models
        if model.registered is not None
    )


def models_label(models: Sequence[RegisteredModel]) -> dict[str, str]:
    """Return the label that tells the registered models of an image; none where there are none."""
    return {MODELS_LABEL: canonical(models).decode()} if models else {}


def labelled_models(labels: Mapping[str, str], title: str) -> tuple[RegisteredModel, ...]:
    """Return the registered models that an image tells of itself.

    Args:
        labels: of the image.
        title: of it, for errors.

    Raises:
        ContextError: the label is not one that packager writes.
    """
    text = labels.get(MODELS_LABEL)
    if text is None:
        return ()
    try:
        return decode_json(text, tuple[RegisteredModel, ...])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ContextError(
            f"the label {MODELS_LABEL} of {title} is not of this packager's form: {error}",
            remedy="use the packager that built the image, or build it again",
        ) from None
