"""multipart/form-data (RFC 7578): what browsers send with a form that has files. Pure."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Sequence

import msgspec


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a form.

    Attributes:
        name: of the field.
        content: its bytes.
        file: name of the file that it is; None for a plain value.
        content_type: of the file.
    """

    name: str
    content: bytes
    file: str | None = None
    content_type: str | None = None


def encode(parts: Sequence[Part]) -> tuple[bytes, str]:
    """Return the body and its content type; the same parts give the same bytes.

    Args:
        parts: in the order in which they are sent.
    """
    # A boundary must not stand in any part: one that follows from all of them cannot.
    digest = hashlib.sha256(b"".join(part.content for part in parts)).hexdigest()
    boundary = f"packager-{digest[:32]}"
    lines: list[bytes] = []
    for part in parts:
        head = f'Content-Disposition: form-data; name="{_quoted(part.name)}"'
        if part.file is not None:
            head += f'; filename="{_quoted(posixpath.basename(part.file))}"'
            head += f"\r\nContent-Type: {part.content_type or 'application/octet-stream'}"
        lines += [f"--{boundary}".encode(), head.encode(), b"", part.content]
    return b"\r\n".join([*lines, f"--{boundary}--".encode(), b""]), f"multipart/form-data; boundary={boundary}"


def _quoted(text: str) -> str:
    # As browsers do (the HTML standard, "multipart form data").
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
