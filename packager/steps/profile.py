"""The step `model profile`: a service under several limits, measured, and the least that is enough."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from packager.contract import SCORE_PATH, TITLE_LABEL
from packager.errors import ContextError, EngineError, ServiceError, UsageError
from packager.given import read_given
from packager.serving.cases import MAX_FILE, prepare
from packager.serving.hosts.docker.image import ImagePackage
from packager.serving.hosts.measure import WITHOUT_ENGINE, limited, machine_of, usage
from packager.serving.hosts.process.package import LocalPackage
from packager.serving.picture import svg
from packager.serving.picture_png import png, require_pillow
from packager.serving.profile import GB, Limits, Profile, Row, Skipped, joined
from packager.serving.profile_plot import picture
from packager.serving.profile_report import advice_line, details, remark_lines, row_line, rows_of
from packager.serving.profile_run import Bounds, measure, serving
from packager.serving.profile_samples import Sample, one, rows
from packager.serving.profile_search import Wish, next_limits, recommend
from packager.serving.service import Package, container_name
from packager.serving.usage import Machine
from packager.spec.load import SpecFile
from packager.steps.reporting import SILENT, Reporter
from packager.steps.run import RunWish, find_package, refuse_dockers, request_for
from packager.steps.wishes import Granted, grant
from packager.storage.files import require_place, write_bytes, write_text

__all__ = [
    "GB",
    "Profile",
    "ProfileWish",
    "advice_line",
    "check_plot",
    "details",
    "profile",
    "remark_lines",
    "require_profiled",
    "rows_of",
    "write_plot",
]

#: What Azure ML gives a profile that asks for nothing.
_CPU, _MEMORY = 3.5, 15 * GB

#: Seconds that a request may take at least, before its service is said to hang: at first, and once it is known.
_SILENCE, _SHORT_SILENCE = 10.0, 5.0
_OFTEN = "and so will each of the others, often five to twelve (--at-most S ends it sooner)"
#: How often what is recommended may change by being measured again.
_ROUNDS = 3
_SLOWER, _START_SLOWER, _START_MORE = 50, 2.0, 10.0


class ProfileWish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be measured, and how.

    Attributes:
        reference: of an image that the engine has; the spec's first where None.
        target: one of the spec's targets.
        docker: False runs the spec's package in its locked environment on this machine, without Docker.
        name: of the profile; of the image where None.
        description: in the user's words.
        data: files, each a request body.
        dataset: file of which each row is a request body.
        bodies: requests as they are, beside those of files.
        binary: what `data` names is sent as it is, whatever it is.
        cpu: processors that are asked for; the spec's, else 3.5, or what the machine has.
        memory: bytes that are asked for; the spec's, else 15 GB, or what the machine has.
        latency: seconds that 95 of 100 answers must keep; None for an average within 10 % of the best.
        seconds: of measuring under each limits.
        requests: under each limits, at most.
        at_most: seconds for all of it; no more limits are tried after that. None until nothing more would be learned.
        timeout: seconds until it must be healthy; 120, or what the spec's probes let it take, where None.
        env: variables beside the image's own.
        devices: give it the GPUs and devices that its target asks for.
    """

    reference: str | None = None
    target: str | None = None
    docker: bool = True
    name: str | None = None
    description: str = ""
    data: tuple[Path, ...] = ()
    dataset: Path | None = None
    bodies: tuple[bytes, ...] = ()
    binary: bool = False
    cpu: float | None = None
    memory: int | None = None
    latency: float | None = None
    seconds: float = 5.0
    requests: int = 1000
    at_most: float | None = None
    timeout: float | None = None
    env: dict[str, str] = {}
    devices: bool = True

    @property
    def has_samples(self) -> bool:
        """Whether requests are named, so that the spec's tests are not asked for any."""
        return bool(self.data or self.bodies) or self.dataset is not None


def profile(wish: ProfileWish, spec_file: SpecFile | None = None, *, reporter: Reporter = SILENT) -> Profile:
    """Run a service under limits, send it the samples in turn, and find the least limits that hold the latency.

    Each limits are measured in blocks, by a service of its own, and those that matter twice: what is asked for, and
    what is recommended. What goes wrong under some limits is said in their row.

    Args:
        wish: what, and how.
        spec_file: the spec; needed where no image is named, and without Docker. Its tests are the samples where none
            are given.
        reporter: is told what is done.

    Raises:
        UsageError: there is no sample that can be sent, or the machine has not what is asked for.
        ContextError: a file of samples cannot be read.
        EngineError: no engine, no such image, or it does not start a container.
        LockError, TemporaryError: without Docker, the environment cannot be had.
    """
    samples, skipped = read_samples(wish, spec_file)
    run = RunWish(
        reference=wish.reference,
        target=wish.target,
        docker=wish.docker,
        publish="free",
        env=wish.env,
        devices=wish.devices,
        timeout=wish.timeout,
    )
    if not wish.docker:
        refuse_dockers(wish.reference, {"gb": wish.memory}, ("gb",))
    package = find_package(run, spec_file, devices=wish.devices, reporter=reporter)
    if not wish.has_samples:
        _refuse_foreign_tests(package, spec_file)
    reporter.step(f"measuring {package.title} with {len(samples)} request{'s' if len(samples) > 1 else ''} in turn")
    if package.note:
        reporter.step(package.note)
    machine = machine_of(package)
    granted = grant(spec_file, package, wish.env, reporter, cpus=wish.cpu is None)
    search = _search(wish, granted, machine)
    measuring = _Measuring(run=run, granted=granted, samples=samples, wish=wish, reporter=reporter)
    found, cut = measuring.rows(search)
    recommended, advice = recommend(search, found)
    if cut:
        advice += f"; after {wish.at_most:g} s no more limits were tried (--at-most)"
    return Profile(
        name=wish.name or package.title,
        image=package.title,
        target=package.target,
        platform=package.platform,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        description=wish.description,
        cpus=machine.cpus,
        machine_memory=machine.memory,
        samples=tuple(each.name for each in samples),
        skipped=skipped,
        asked=wish.latency,
        rows=tuple(found),
        recommended=recommended,
        advice=advice,
        note=WITHOUT_ENGINE if isinstance(package, LocalPackage) else "",
    )


def require_profiled(found: Profile) -> None:
    """Raise where the service answered under none of the limits.

    Raises:
        ServiceError: with the first reason.
    """
    if not any(row.state == "Succeeded" for row in found.rows):
        raise ServiceError(
            f"{found.image} could not be measured: {found.advice}", remedy="`packager run` shows its log"
        )


def check_plot(path: Path) -> None:
    """Refuse a picture that cannot be drawn, before anything is measured.

    Raises:
        UsageError: its ending is not one that can, or what draws it is not installed.
        ContextError: no file can be written there.
    """
    ending = path.suffix.lower()
    if ending not in (".svg", ".png"):
        what = path.suffix or "a name without ending"
        raise UsageError(
            f"--plot {path}: a plot is drawn as SVG or PNG, not as {what}", remedy=f"--plot {path.with_suffix('.svg')}"
        )
    if ending == ".png":
        require_pillow(f"--plot {path}")
    require_place(path)


def write_plot(found: Profile, path: Path) -> None:
    """Write the picture of a profile: as SVG, or as PNG where the file is called so.

    Raises:
        UsageError: see `check_plot`.
        ContextError: the file cannot be written.
    """
    check_plot(path)
    drawn = picture(found)
    if path.suffix.lower() == ".png":
        write_bytes(path, png(drawn))
    else:
        write_text(path, svg(drawn))


def read_samples(wish: ProfileWish, spec_file: SpecFile | None) -> tuple[tuple[Sample, ...], tuple[Skipped, ...]]:
    """Return the requests that are sent, and those that are not, with the reason.

    Raises:
        UsageError: there is none that can be sent.
        ContextError: a file cannot be read.
    """
    found: list[Sample | Skipped] = [
        Sample(name=f"request {number}", body=body) for number, body in enumerate(wish.bodies, 1)
    ]
    found += [one(str(path), _read(path), binary=wish.binary) for path in wish.data]
    if wish.dataset is not None:
        found += rows(str(wish.dataset), _read(wish.dataset))
    if not wish.has_samples and spec_file is not None:
        found += _of_tests(spec_file)
    samples = tuple(each for each in found if isinstance(each, Sample))
    skipped = tuple(each for each in found if isinstance(each, Skipped))
    if samples:
        return samples, skipped
    if skipped:
        more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
        raise UsageError(
            f"no sample can be sent: {skipped[0].name}: {skipped[0].reason}{more}",
            remedy="--data FILE is one request, --idi FILE has one in each row; other than JSON: --data FILE --binary",
        )
    raise UsageError(
        "there are no requests to measure with: the file has no rows" if wish.dataset else "there are no requests",
        remedy="--data FILE (repeatable), --idi FILE with a request in each row, or a `test:` section in the spec",
    )


def _read(path: Path) -> bytes:
    try:
        return read_given(path, MAX_FILE)
    except OSError as error:
        raise ContextError(f"{path} cannot be read: {error.strerror or error}") from None


def _of_tests(spec_file: SpecFile) -> list[Sample | Skipped]:
    return [
        Sample(name=f"test {case.name!r}", body=case.body, content_type=_content_type(case.headers))
        for case in prepare(spec_file)
        if case.body is not None and case.path == SCORE_PATH and case.key and case.expected.status in (None, 200)
    ]


def _refuse_foreign_tests(package: Package, spec_file: SpecFile | None) -> None:
    """Refuse the tests of a spec that is found here by chance, as requests to another package's image."""
    title = package.labels.get(TITLE_LABEL)
    if spec_file is not None and isinstance(package, ImagePackage) and title != spec_file.spec.name:
        raise UsageError(
            f"{package.title} is not of {spec_file.document.path}, so its tests are no requests to it",
            remedy="--data FILE (repeatable), or --idi FILE with a request in each row",
        )


def _content_type(headers: dict[str, str]) -> str:
    return next(value for name, value in headers.items() if name.lower() == "content-type")


def _search(wish: ProfileWish, granted: Granted, machine: Machine) -> Wish:
    """Return what is searched for: the user's limits, else the spec's, else Azure ML's; never more than there is."""
    local = isinstance(granted.package, LocalPackage)
    cpu = wish.cpu if wish.cpu is not None else min(granted.cpus or _CPU, machine.cpus)
    memory = wish.memory if wish.memory is not None else min(granted.memory or _MEMORY, machine.memory or _MEMORY)
    if cpu > machine.cpus:
        raise UsageError(f"--cc {cpu:g}: the machine has {machine.cpus} processors", remedy=f"--cc {machine.cpus}")
    if machine.memory and memory > machine.memory:
        has = machine.memory / GB
        raise UsageError(f"--gb {memory / GB:g}: the machine has {has:.3g} GB", remedy=f"--gb {int(has * 10) / 10:g}")
    if local and cpu != int(cpu):
        if wish.cpu is not None:
            raise UsageError(f"--cc {cpu:g}: without an engine, processors are whole ones", remedy="--cc 1")
        cpu = float(max(int(cpu), 1))
    return Wish(
        requested=Limits(cpu=float(cpu), memory=None if local else memory),
        cpus=machine.cpus,
        memory=machine.memory,
        whole=local,
        latency=wish.latency,
    )


class _Measuring(msgspec.Struct, frozen=True, kw_only=True):
    """All that one measurement needs but its limits."""

    run: RunWish
    granted: Granted
    samples: Sequence[Sample]
    wish: ProfileWish
    reporter: Reporter

    def rows(self, search: Wish) -> tuple[list[Row], bool]:
        """Measure until nothing more would be learned, and once more what matters.

        Returns:
            what was measured, and whether the time for all of it ended that.
        """
        found: list[Row] = []
        began, one = time.monotonic(), 0.0

        def enough() -> bool:
            """Whether there is no time for another measurement; the first one has it in any case."""
            nonlocal one
            if not found or self.wish.at_most is None:
                return False
            passed = time.monotonic() - began
            one = one or passed
            return passed + one > self.wish.at_most

        for _ in range(_ROUNDS):
            while (limits := next_limits(search, found)) is not None:
                if enough():
                    return found, True
                found.append(self.row(limits, found[0] if found else None))
                self.reporter.step(row_line(found[-1]))
                if len(found) == 1 and self.wish.at_most is None:
                    self.reporter.step(f"that took {time.monotonic() - began:.0f} s, {_OFTEN}")
            # What is measured again may change what is recommended, and then there may be something to be tried.
            once = [index for index, row in enumerate(found) if row.starts == 1 and self.matters(row, search, found)]
            if not once:
                break
            for index in once:
                if enough():
                    return found, True
                found[index] = joined(found[index], self.row(found[index].limits, found[0]))
                self.reporter.step(f"again: {row_line(found[index])}")
        return found, False

    def matters(self, row: Row, search: Wish, found: Sequence[Row]) -> bool:
        """Tell whether a row is of what was asked for, or of what is recommended."""
        recommended, _ = recommend(search, found)
        wanted = [search.requested, *([recommended] if recommended else [])]
        return row.state == "Succeeded" and any(
            row.limits.cpu == each.cpu and row.limits.memory in (each.memory, None) for each in wanted
        )

    def row(self, limits: Limits, first: Row | None) -> Row:
        """Measure under some limits; where the engine does not take them, the row says so, unless it is the first."""
        bounds = self.bounds(limits, first)

        def start() -> Any:
            run = msgspec.structs.replace(self.run, memory=limits.memory, cpus=limits.cpu)
            name = container_name("profile")
            quiet = SILENT if first else self.reporter
            host, request = request_for(run, self.granted, name, devices=run.devices, reporter=quiet)
            return serving(host, request, bounds, usage, limited(self.package, limits.cpu))

        try:
            return measure(start, limits, self.samples, bounds)
        except EngineError as error:
            if first is None:
                raise
            return Row(limits=limits, reason=error.message.partition("\n")[0])

    @property
    def package(self) -> Package:
        """What is served."""
        return self.granted.package

    def bounds(self, limits: Limits, first: Row | None) -> Bounds:
        """Return how long a measurement may take: once it is known how fast the service is, it is waited for less."""
        ready = self.wish.timeout if self.wish.timeout is not None else self.granted.ready_in
        silence = max(_SILENCE, self.wish.seconds)
        if first is not None and first.state == "Succeeded":
            slower = max(first.limits.cpu / limits.cpu, 1.0)
            silence = min(silence, max(_SHORT_SILENCE, _SLOWER * slower * first.latencies[-1]))
            ready = min(ready, _START_MORE + _START_SLOWER * slower * first.start)
        return Bounds(seconds=self.wish.seconds, requests=self.wish.requests, silence=silence, ready=ready)
