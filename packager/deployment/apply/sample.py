"""The sample request of a workload, sent to what was just deployed."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from packager.contract import SCORE_PATH
from packager.deployment.apply.client import Say
from packager.deployment.workload import Workload
from packager.errors import ServiceError, TemporaryError, UsageError
from packager.programs.image.keys import KeysError, parse
from packager.serving.client import score
from packager.serving.example import Example
from packager.serving.multipart import Part, encode

#: Seconds that a service may be silent: as long as its scoring may take, 60 where nobody says, and 300 at most.
_USUAL, _LONGEST, _AROUND = 60.0, 300.0, 5.0


def send_sample(workload: Workload, url: str, key: str | None, say: Say) -> None:
    """Send the sample request, where there is one, and say what came back.

    Args:
        workload: that was deployed.
        url: of its root, as it is reached from here.
        key: that its requests need; None where they need none.
        say: hears the answer.

    Raises:
        ServiceError: it answers with an error, not in time, or not at all.
        UsageError: the sample's file cannot be read.
    """
    if workload.sample is None:
        say("no sample request is known, so none was sent: a test in the spec is one")
        return
    body, headers = request_of(workload.sample)
    if key is not None:
        headers = {"Authorization": f"Bearer {key}", **headers}
    patience = min(workload.scoring_timeout or _USUAL, _LONGEST)
    try:
        answer = score(f"{url.rstrip('/')}{SCORE_PATH}", body, headers=headers, timeout=patience + _AROUND)
    except TemporaryError as error:
        # Of a service that was just deployed, silence is no passing trouble: it is taken back.
        raise ServiceError(error.message, remedy=error.remedy) from None
    say(f"the sample request was answered: status {answer.status}, {len(answer.body)} bytes of {answer.content_type}")


def request_of(sample: Example) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a sample.

    Raises:
        UsageError: its file cannot be read.
    """
    if not sample.form:
        return (_read(sample.file) if sample.file is not None else (sample.text or "").encode()), dict(sample.headers)
    parts = []
    for name, value in sample.form:
        if not value.startswith("@"):
            parts.append(Part(name=name, content=value.encode()))
            continue
        file = Path(value[1:])
        kind = mimetypes.guess_type(file.name)[0]
        parts.append(Part(name=name, content=_read(value[1:]), file=file.name, content_type=kind))
    body, content_type = encode(parts)
    return body, {**sample.headers, "Content-Type": content_type}


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"the sample {file} cannot be read: {error.strerror}", remedy="check the path") from None


def first_key(text: str, where: str, remedy: str) -> str:
    """Return the first key of a text that has one a line.

    Raises:
        UsageError: there is none.
    """
    try:
        return parse([text], where)[0]
    except KeysError as error:
        raise UsageError(str(error), remedy=remedy) from None
