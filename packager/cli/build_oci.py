"""`packager build` by the builder that needs no engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packager.cli.common import Reporter
from packager.cli.test import gate_written

if TYPE_CHECKING:
    from packager.builders.oci import Written
    from packager.oci.compression import Compression
    from packager.pipeline import Planned
    from packager.plan.plan import Plan
    from packager.spec.load import SpecFile
    from packager.storage.models import Store


class Peek:
    """Gives the digests of models that are remembered, without reading one; `unknown` tells whether some are not."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.unknown = False

    def __call__(self, path: Path) -> tuple[str, int]:
        """Return sha256 and size of a file; a stand-in for the digest where it is not remembered."""
        known = self._store.recall(path)
        if known is None:
            self.unknown = True
            return "0" * 64, path.stat().st_size
        return known


def read_ahead(spec_file: SpecFile, plan: Plan, compression: Compression) -> None:
    """Read the models that were never read, once: their digests and their layers come from the same pass."""
    from packager.builders.unread_models import is_known, layer_ahead
    from packager.storage.content import ContentStore
    from packager.storage.models import Store

    store, content = Store(), ContentStore()
    for layer in plan.models:
        if not is_known(layer.tree, spec_file.root, store):
            layer_ahead(layer.tree, layer.title, spec_file.root, store, content, compression)


def oci_build(
    spec_file: SpecFile, target: str, planned: list[Planned], reporter: Reporter, options: dict[str, Any]
) -> dict[str, Any]:
    """Write the images, one for each platform, and bring them where they are wanted."""
    from packager.builders.deliver import deliver
    from packager.builders.oci import Recipes, write_image
    from packager.builders.output_option import parse_output
    from packager.pipeline import machine_mirrors
    from packager.revision import build_labels, source_date_epoch
    from packager.storage.content import ContentStore

    content, epoch = ContentStore(), source_date_epoch()
    labels = {**build_labels(spec_file.root, epoch), **pairs("--label", options["labels"])}
    written = [
        write_image(
            spec_file,
            each,
            content,
            labels=labels,
            created=epoch,
            recipes=Recipes(compression=options["compression"], compile=options["byte_compile"]),
            mirrors={**spec_file.spec.registry_mirrors, **machine_mirrors()},
            say=reporter.step,
        )
        for each in planned
    ]
    _show_timings(written, planned, reporter, options["timings"])
    result: dict[str, Any] = {
        "target": target,
        "builder": "oci",
        "platforms": [each.plan.platform for each in planned],
        "timings": [each.seconds for each in written],
    }
    if options["verify"]:
        return result | {"metadata": {}} | _verified(written, options["verify"], spec_file)
    references = options["tags"] or planned[0].plan.references
    for each, made in zip(planned, written, strict=True) if options["tested"] else ():
        gate_written(spec_file, made.image, content, f"{references[0]} {each.plan.platform}", target, reporter)
    delivered = deliver(
        [each.image for each in written],
        planned[0].plan,
        content,
        references,
        push=options["push"],
        load=options["load"],
        outputs=[output for text in options["outputs"] if (output := parse_output(text))],
        say=reporter.step,
    )
    metadata = metadata_of(delivered.image_id, delivered.digest, delivered.references)
    write_files(delivered.image_id or delivered.digest, metadata, options)
    return result | {
        "metadata": metadata,
        "manifests": {each.image.platform: each.image.digest for each in written},
        "digest": delivered.digest,
        "id": delivered.image_id,
        "images": [f"{reference}@{delivered.digest}" for reference in delivered.references] or [delivered.digest],
        "pushed": delivered.pushed,
        "loaded": delivered.loaded,
        "bytes_sent": delivered.bytes_sent,
    }


def _verified(written: list[Written], reference: str, spec_file: SpecFile) -> dict[str, Any]:
    from packager.builders.compare import compare_with
    from packager.errors import UsageError
    from packager.pipeline import machine_mirrors
    from packager.storage.content import ContentStore

    if len(written) > 1:
        raise UsageError("--verify compares one platform", remedy="name one: --platform OS/ARCH")
    mirrors = {**spec_file.spec.registry_mirrors, **machine_mirrors()}
    differences = compare_with(written[0].image, reference, ContentStore(), mirrors)
    return {"digest": written[0].image.digest, "reference": reference, "differences": list(differences)}


def _show_timings(written: list[Written], planned: list[Planned], reporter: Reporter, wanted: bool) -> None:
    for image, each in zip(written, planned, strict=True) if wanted else ():
        steps = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in image.seconds.items())
        reporter.step(f"{each.plan.platform}: {steps}")


def metadata_of(image_id: str, digest: str, references: Sequence[str]) -> dict[str, Any]:
    """Return what `--metadata-file` tells of an image, in BuildKit's form."""
    return {
        "containerimage.config.digest": image_id,
        "containerimage.digest": digest,
        "image.name": ",".join(references),
    }


def write_files(image_id: str, metadata: dict[str, Any], options: dict[str, Any]) -> None:
    """Write what `--iidfile` and `--metadata-file` ask for."""
    from packager.storage.files import write_text

    if options["iidfile"] is not None:
        write_text(options["iidfile"], image_id)
    if options["metadata_file"] is not None:
        write_metadata(options["metadata_file"], metadata)


def write_metadata(path: Path, metadata: dict[str, Any]) -> None:
    """Write a file of metadata."""
    import json

    from packager.storage.files import write_text

    write_text(path, json.dumps(metadata, indent=2) + "\n")


def pairs(option: str, values: tuple[str, ...]) -> dict[str, str]:
    """Return `NAME=VALUE` options as a mapping."""
    from packager.errors import UsageError

    pairs = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not name or (not equals and option == "--label"):
            raise UsageError(f"{option} {value!r} is not NAME=VALUE")
        pairs[name] = text
    return pairs
