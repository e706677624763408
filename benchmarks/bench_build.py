"""Images without an engine, beside the same package built by BuildKit from an expert's Dockerfile, in one run.

    python benchmarks/bench_build.py [--base local/python:3.13-slim] [--push HOST:PORT/NAME] [--model-size 2048]

Both start from the same base (which both have already) and the same downloaded wheels (uv's cache here, a cache mount
there). Compare the ratios: seconds are of one machine on one day.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples/diabetes"
DOCKERFILE = """\
FROM {base} AS environment
RUN --mount=type=cache,target=/root/.cache python3 -m venv /tmp/uv && /tmp/uv/bin/pip install --quiet uv
COPY requirements.txt /tmp/
RUN --mount=type=cache,target=/root/.cache python3 -m venv --without-pip /opt/env \\
 && SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt UV_LINK_MODE=copy \\
    /tmp/uv/bin/uv pip install --quiet --python /opt/env/bin/python --require-hashes --no-deps -r /tmp/requirements.txt
FROM {base}
COPY --from=environment /opt/env /opt/env
COPY models /var/azureml-app/azureml-models
COPY src /var/azureml-app
ENTRYPOINT ["/opt/env/bin/azmlinfsrv", "--entry_script=/var/azureml-app/score.py"]
"""


def wall(command: list[str], folder: Path, **environ: str) -> float:
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr}")
    return time.perf_counter() - start


def packager(folder: Path, base: str, cache: Path, *more: str) -> float:
    command = [sys.executable, "-m", "packager", "build", "--builder", "oci", "-q", "--base", base]
    return wall([*command, *more], folder, XDG_CACHE_HOME=str(cache), UV_CACHE_DIR=UV_CACHE)


UV_CACHE = subprocess.run(["uv", "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()


def builds(work: Path, base: str, push: str | None) -> None:
    folder = Path(shutil.copytree(EXAMPLE, work / "diabetes"))
    shutil.copyfile(folder / "locks/cpu.requirements.txt", folder / "requirements.txt.locked")
    docker = Path(shutil.copytree(folder, work / "docker"))
    shutil.copyfile(docker / "locks/cpu.requirements.txt", docker / "requirements.txt")
    (docker / "Dockerfile").write_text(DOCKERFILE.format(base=base))
    buildx = ["docker", "buildx", "build", "--quiet", "--provenance=false", "--tag", "packager-bench:docker", "."]
    archive = work / "base.tar"
    subprocess.run(["docker", "save", "--output", str(archive), base], check=True)
    source = f"docker-archive:{archive}"
    output = ("-o", f"type=oci,dest={work}/layout")
    packager(folder, source, work / "warm", *output)  # wheels into uv's cache
    wall(buildx, docker)  # and into the cache mount
    # The base is there on both sides: an engine keeps it unpacked, and we keep its layers and the list of its files.
    prepared = work / "prepared"
    environ = {"XDG_CACHE_HOME": str(prepared), "UV_CACHE_DIR": UV_CACHE}
    code = "import sys; from packager.builders.base_option import resolve_base;"
    code += "from packager.builders.base import fetch_base;"
    code += "from packager.storage.content import ContentStore;"
    code += "from packager.laying.base_files import FileBlob, read_base_files;"
    code += "from packager.storage.memory import Memory;"
    code += "content = ContentStore(); base = fetch_base(resolve_base(sys.argv[1], {}), 'linux/amd64', content);"
    code += "blobs = [layer.blob.digest for layer in base.layers];"
    code += (
        "read_base_files((FileBlob(digest=each, path=str(content.path(each))) for each in blobs), Memory('base-files'))"
    )
    wall([sys.executable, "-c", code, source], folder, **environ)
    cold = cold_build(folder, source, prepared, output)
    cold_docker = min(wall([*buildx, "--no-cache"], docker) for _ in range(2))
    ratio = cold / cold_docker
    print(f"cold build           {cold:6.2f} s   BuildKit {cold_docker:6.2f} s   ratio {ratio:.2f} (at most 0.25)")
    again = min(packager(folder, source, prepared, *output) for _ in range(3))
    again_docker = min(wall(buildx, docker) for _ in range(3))
    print(f"nothing changed      {again:6.2f} s   BuildKit {again_docker:6.2f} s   (at most 0.3 s)")
    if push:
        edited(folder, docker, source, prepared, push)


def cold_build(folder: Path, source: str, prepared: Path, output: tuple[str, ...]) -> float:
    """Seconds of a build that finds the base in our store, and not the environment; the best of three."""
    copies = [Path(shutil.copytree(prepared, prepared.with_name(f"cold{number}"))) for number in range(2)]
    # The last one is for the builds after this, which find all there.
    return min(packager(folder, source, cache, *output) for cache in (*copies, prepared))


def edited(folder: Path, docker: Path, source: str, cache: Path, push: str) -> None:
    words = ("--push", "--no-test", "-t", f"{push}:ours")
    packager(folder, source, cache, *words)
    image = f"{push}:docker"
    buildx = ["docker", "buildx", "build", "--quiet", "--provenance=false", "--push", "--tag", image, "."]
    wall(buildx, docker)
    ours = theirs = float("inf")
    for _ in range(3):
        for each in (folder, docker):
            script = each / "src/score.py"
            script.write_text(script.read_text() + f"# {time.time()}\n")
        ours, theirs = min(ours, packager(folder, source, cache, *words)), min(theirs, wall(buildx, docker))
    print(f"edit script and push {ours:6.2f} s   BuildKit {theirs:6.2f} s   (at most 0.5 s)")


def model(work: Path, base: str, megabytes: int) -> None:
    folder = Path(shutil.copytree(EXAMPLE, work / "large"))
    weights = folder / "models/sklearn_regression_model.pkl"
    block = os.urandom(1 << 20)
    with weights.open("wb") as stream:
        for number in range(megabytes):
            stream.write(number.to_bytes(8, "big") + block[8:])
    cache = work / "prepared"
    source = f"docker-archive:{work}/base.tar"
    start = time.perf_counter()
    subprocess.run(["cp", str(weights), str(work / "copy")], check=True)
    subprocess.run(["sha256sum", str(work / "copy")], check=True, stdout=subprocess.DEVNULL)
    plain = time.perf_counter() - start
    (work / "copy").unlink()
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    output = ("-o", f"type=oci,dest={work}/layout-large")
    first = packager(folder, source, cache, *output)
    peak = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    again = min(packager(folder, source, cache, *output) for _ in range(3))
    ratio = first / plain
    print(
        f"model of {megabytes} MiB    {first:6.2f} s   cp + sha256sum {plain:.2f} s   ratio {ratio:.2f} (at most 1.3)"
    )
    print(f"the same again       {again:6.2f} s   (at most 0.5 s)")
    print(f"peak memory          {peak / 1024:6.0f} MB  of any process of this run (at most 150)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="local/python:3.13-slim", help="an image that the engine has")
    parser.add_argument("--push", metavar="HOST:PORT/NAME", help="where to push to (docker login first)")
    parser.add_argument("--model-size", type=int, default=2048, metavar="MIB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        builds(Path(temporary), options.base, options.push)
        model(Path(temporary), options.base, options.model_size)


if __name__ == "__main__":
    main()
