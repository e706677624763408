"""Builds that end before their time, by Ctrl-C or a cancelled job: nothing half counts, and the next is whole."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from packager.storage.content import ContentStore
from packager.storage.models import Store
from tests.integration.conftest import NO_ENGINE, Registry, RunPackager
from tests.integration.fault_proxy import Fault, fault_proxy

pytestmark = pytest.mark.network

CHUNK = 32 << 20
MODEL = 200 << 20


class Workshop:
    """The tiny package, base and environment of which were built once; its cache is for all tests."""

    def __init__(self, folder: Path, base: Path, run: RunPackager) -> None:
        self.folder = folder / "tiny"
        self.base = f"oci-archive:{base}"
        self.run_packager = run
        self.cache = folder / "cache"
        self.digest = ""

    @property
    def content(self) -> Path:
        return self.cache / "packager/content"

    def give_model(self, size: int) -> None:
        """A model that nobody has seen before, and that no compression makes smaller."""
        block = os.urandom(1 << 20)
        with (self.folder / "models/weights.json").open("wb") as stream:
            for _ in range(size >> 20):
                stream.write(block)

    def environ(self, cache: Path | None = None) -> dict[str, str]:
        return {**NO_ENGINE, "XDG_CACHE_HOME": str(cache or self.cache)}

    def run(self, *words: str, cache: Path | None = None) -> str:
        return self.run_packager(*words, cwd=self.folder, env=self.environ(cache)).stdout.strip()

    def build(self, *words: str, cache: Path | None = None) -> str:
        return self.run("build", "--builder", "oci", "--no-compile", "--base", self.base, "-q", *words, cache=cache)

    def interrupt(
        self, number: signal.Signals, when: Callable[[], bool], *words: str, cache: Path | None = None
    ) -> float:
        """Run a command, send it a signal at some time, and return the seconds that it took to end."""
        command = [sys.executable, "-m", "packager", *words]
        environ = {**os.environ, **self.environ(cache)}
        with subprocess.Popen(
            command, cwd=self.folder, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            limit = time.monotonic() + 60
            while not when():
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < limit, "the time for the signal never came"
                time.sleep(0.001)
            start = time.monotonic()
            process.send_signal(number)
            said, messages = process.communicate(timeout=60)
        assert process.returncode == 130, messages
        assert said == ""
        assert messages.rstrip().endswith("interrupted")
        assert "Traceback" not in messages
        assert "Exception ignored" not in messages
        return time.monotonic() - start


@pytest.fixture(scope="module")
def workshop(
    tmp_path_factory: pytest.TempPathFactory, base_archive: Path, locked_tiny: Path, run_packager: RunPackager
) -> Workshop:
    made = Workshop(tmp_path_factory.mktemp("workshop"), base_archive, run_packager)
    shutil.copytree(locked_tiny, made.folder)
    made.digest = made.build()
    return made


def nothing_half_is_left(cache: Path) -> None:
    root = cache / "packager"
    assert not list(root.glob("*/tmp/*"))
    assert not list(root.glob("environments/.laying-*"))
    assert Store(root / "store").verify().damaged == ()
    assert ContentStore(root / "content").verify() == ()


@pytest.mark.parametrize(
    ("number", "verb", "kept_in"),
    [(signal.SIGINT, "build", "content"), (signal.SIGTERM, "save", "store")],
)
def test_while_a_large_model_is_read(number: signal.Signals, verb: str, kept_in: str, workshop: Workshop) -> None:
    workshop.give_model(MODEL)
    output = workshop.folder.parent / "context"
    words = {
        "build": ("build", "--builder", "oci", "--no-compile", "--base", workshop.base),
        "save": ("save", "-o", str(output)),
    }[verb]
    folder = workshop.cache / "packager" / kept_in / "tmp"

    def in_the_middle() -> bool:
        return any(path.stat().st_size > 1 << 20 for path in folder.glob("*"))

    workshop.interrupt(number, in_the_middle, *words)
    assert not output.exists()
    nothing_half_is_left(workshop.cache)
    workshop.run(*words)
    nothing_half_is_left(workshop.cache)
    shutil.rmtree(output, ignore_errors=True)


@pytest.mark.parametrize(("number", "step"), [(signal.SIGTERM, "laid down"), (signal.SIGINT, "written")])
def test_while_the_environment_is_made(
    number: signal.Signals, step: str, workshop: Workshop, tiny: Path, tmp_path: Path
) -> None:
    shutil.copy(tiny / "models/weights.json", workshop.folder / "models/weights.json")
    cache = tmp_path / "cache"
    environments, content = cache / "packager/environments", cache / "packager/content"

    def in_the_middle() -> bool:
        if step == "laid down":
            return any(environments.glob(".laying-*/*/lib/python*/site-packages/*"))
        return any(environments.glob("*.json")) and any(path.stat().st_size for path in content.glob("tmp/*"))

    workshop.interrupt(
        number, in_the_middle, "build", "--builder", "oci", "--no-compile", "--base", workshop.base, cache=cache
    )
    nothing_half_is_left(cache)
    assert workshop.build(cache=cache) == workshop.digest
    nothing_half_is_left(cache)


def test_while_it_is_pushed(
    workshop: Workshop, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_proxy(registry.address) as proxy:
        auth = {"auth": base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()}
        (tmp_path / "config.json").write_text(json.dumps({"auths": {proxy.address: auth, registry.address: auth}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        # One platform, as `workshop.build` makes it; a push alone is of all.
        push = ("--platform", "linux/amd64", "--push", "-t")
        workshop.build(*push, f"{registry.address}/packager-test/interrupted:before")
        workshop.give_model(3 * CHUNK)
        digest = workshop.build()
        proxy.buffered = True
        proxy.fail("PATCH", "", Fault(), Fault(delay=1.5))
        reference = f"{proxy.address}/packager-test/interrupted:{tmp_path.name}"
        words = ("build", "--builder", "oci", "--no-compile", "--base", workshop.base, *push, reference)
        seconds = workshop.interrupt(signal.SIGINT, lambda: proxy.count("PATCH") == 2, *words)
        assert seconds < 15
        assert proxy.count("PUT", "manifests") == 0
        nothing_half_is_left(workshop.cache)
        sent = proxy.received
        assert workshop.build(*push, reference) == f"{reference}@{digest}"
        assert proxy.received - sent < 2 * CHUNK, "the chunks that arrived are not sent again"
        assert proxy.count("PUT", "manifests") == 1
