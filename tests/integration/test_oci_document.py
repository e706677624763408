"""An image written by ourselves, in real readers: the engine runs it, skopeo reads it, and BuildKit makes the same."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from packager.builders.loading import load_into_engine
from packager.dockerfile.render import render
from packager.oci.compose import make_image
from packager.oci.compression import Compression
from packager.oci.layers import folder_layer
from packager.oci.outputs import write_docker_archive, write_layout, write_oci_archive
from packager.oci.values import LAYER, BaseImage, Descriptor, Image, Layer
from packager.plan.plan import Base
from packager.registry.push import push_images
from packager.storage.content import ContentStore, Memory
from tests.integration.conftest import Engine, Registry
from tests.unit.plans import example_plan

pytestmark = pytest.mark.engine

TAG = "packager-test/oci-document:1"
#: What of a configuration is the same either way; history and layers are not.
SAME = ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "WorkingDir", "Labels", "StopSignal", "Healthcheck")


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def base_tag(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tiny base that sets what our Dockerfile changes."""
    tag = "packager-test/oci-base:1"
    text = (
        "FROM scratch\nCOPY marker /marker\nENV LANG=C.UTF-8 PATH=/usr/bin OTHER=1\nLABEL vendor=x\nEXPOSE 80\n"
        'VOLUME /data\nUSER 5\nWORKDIR /srv\nCMD ["python3"]\nSTOPSIGNAL SIGKILL\n'
    )
    folder = tmp_path_factory.mktemp("base")
    (folder / "marker").write_text("base")
    (folder / "Dockerfile").write_text(text)
    docker("build", "-t", tag, str(folder))
    yield tag
    docker("image", "rm", "-f", tag)


def saved_base(tag: str, content: ContentStore, folder: Path) -> BaseImage:
    """Take a base out of the engine, as the product's own reader does."""
    docker("save", "-o", str(folder / "base.tar"), tag)
    with tarfile.open(folder / "base.tar") as archive:

        def read(name: str) -> bytes:
            stream = archive.extractfile(name)
            assert stream is not None
            return stream.read()

        (entry,) = json.loads(read("manifest.json"))
        layers = []
        for name in entry["Layers"]:
            data = read(name)
            digest = content.put_bytes(data)
            blob = Descriptor(media_type=LAYER, digest=digest, size=len(data))
            layers.append(Layer(blob=blob, diff_id=digest, title="base"))
        return BaseImage(config=json.loads(read(entry["Config"])), layers=tuple(layers))


def make(tag: str, folder: Path, compression: Compression = "gzip") -> tuple[Image, ContentStore]:
    content = ContentStore(folder / "content")
    (folder / "env").mkdir(exist_ok=True)
    # Several blocks of either codec, of which some are stored.
    (folder / "env/hello.txt").write_text("hello " * 1_500_000)
    (folder / "env/noise").write_bytes(random.Random(1).randbytes(9_000_000))
    layer = folder_layer(folder / "env", "/opt/env", "environment", "k", content, compression, Memory("l", folder))
    plan = example_plan(base=Base(reference=tag, digest="sha256:" + "0" * 64, source=tag, local=True))
    return make_image(plan, saved_base(tag, content, folder), (layer,), {"a.b": "c"}, 0, content), content


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_the_engine_loads_exactly_this_image(base_tag: str, tmp_path: Path, compression: Compression) -> None:
    image, content = make(base_tag, tmp_path, compression)
    try:
        assert load_into_engine(image, (TAG,), content) in (image.id, image.digest)
        container = docker("create", TAG).strip()
        docker("cp", f"{container}:/opt/env", str(tmp_path / "out"))
        docker("rm", container)
        for name in ("hello.txt", "noise"):
            assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "env" / name).read_bytes()
    finally:
        subprocess.run(["docker", "image", "rm", "-f", TAG], capture_output=True, check=False)


def test_docker_load_reads_the_archive(base_tag: str, tmp_path: Path) -> None:
    image, content = make(base_tag, tmp_path)
    write_docker_archive(image, (TAG,), tmp_path / "image.tar", content)
    try:
        assert TAG in docker("load", "-i", str(tmp_path / "image.tar"))
        assert docker("image", "inspect", "-f", "{{.Id}}", TAG).strip() in (image.id, image.digest)
    finally:
        subprocess.run(["docker", "image", "rm", "-f", TAG], capture_output=True, check=False)


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="no skopeo here")
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_skopeo_reads_all_forms(base_tag: str, tmp_path: Path, compression: Compression) -> None:
    image, content = make(base_tag, tmp_path, compression)
    write_layout([image], (TAG,), tmp_path / "layout", content)
    write_oci_archive([image], (TAG,), tmp_path / "oci.tar", content)
    write_docker_archive(image, (TAG,), tmp_path / "docker.tar", content)
    for source in (f"oci:{tmp_path}/layout:1", f"oci-archive:{tmp_path}/oci.tar:1"):
        found = subprocess.run(["skopeo", "inspect", source], check=True, capture_output=True, text=True).stdout
        assert json.loads(found)["Digest"] == image.digest
    # Copying reads every layer, and holds it against its diff id.
    # (This skopeo cannot name zstd layers in a Docker manifest.)
    form = "oci" if compression == "zstd" else "docker-archive"
    for number, source in enumerate((f"oci:{tmp_path}/layout:1", f"docker-archive:{tmp_path}/docker.tar")):
        target = f"{form}:{tmp_path}/copy{number}"
        subprocess.run(["skopeo", "copy", "--insecure-policy", source, target], check=True, capture_output=True)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_the_engine_pulls_what_was_pushed(
    base_tag: str,
    registry: Registry,
    docker_config: Path,
    tmp_path: Path,
    removed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    compression: Compression,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    image, content = make(base_tag, tmp_path, compression)
    reference = f"{registry.address}/packager-test/several-blocks:{compression}"
    push_images([image], content, [reference])
    removed.append(reference)
    docker("pull", "--quiet", reference)
    container = docker("create", reference).strip()
    removed.insert(0, container)
    docker("cp", f"{container}:/opt/env", str(tmp_path / "out"))
    for name in ("hello.txt", "noise"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "env" / name).read_bytes()


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_buildah_reads_every_block(base_tag: str, buildah: list[str], tmp_path: Path, compression: Compression) -> None:
    """And so does podman, whose storage it is."""
    image, content = make(base_tag, tmp_path, compression)
    write_oci_archive([image], (TAG,), tmp_path / "oci.tar", content)

    def run(*words: str) -> str:
        return subprocess.run([*buildah, *words], check=True, capture_output=True, text=True).stdout.strip()

    container = run("from", "--quiet", f"oci-archive:{tmp_path}/oci.tar")
    place = Path(run("mount", container))
    for name in ("hello.txt", "noise"):
        assert (place / "opt/env" / name).read_bytes() == (tmp_path / "env" / name).read_bytes()


def test_buildkit_makes_the_same_configuration(base_tag: str, tmp_path: Path) -> None:
    """The part of our Dockerfile after the layers, which is all that makes a configuration."""
    image, _ = make(base_tag, tmp_path)
    plan = example_plan(base=Base(reference=base_tag, digest="sha256:" + "0" * 64, source=base_tag, local=True))
    lines = render(plan).splitlines()
    start = max(number for number, line in enumerate(lines) if line == "FROM base")
    rest = [line for line in lines[start + 1 :] if not line.startswith("COPY")]
    (tmp_path / "Dockerfile").write_text("\n".join([f"FROM {base_tag}", *rest]) + "\n")
    tag = "packager-test/oci-buildkit:1"
    docker(
        "build", "--provenance=false", "--label", "a.b=c", "-t", tag, "-f", str(tmp_path / "Dockerfile"), str(tmp_path)
    )
    try:
        folder = tmp_path / "saved"
        folder.mkdir()
        theirs: Any = saved_base(tag, ContentStore(folder / "c"), folder).config["config"]
        ours = json.loads(image.config)["config"]
        assert {name: ours.get(name) for name in SAME} == {name: theirs.get(name) for name in SAME}
        left = {name for name in theirs.keys() ^ ours.keys() if theirs.get(name) or ours.get(name)}
        assert left == set()
    finally:
        docker("image", "rm", "-f", tag)
