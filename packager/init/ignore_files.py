"""`.amlignore`, which has the syntax of `.gitignore`, as `.dockerignore`. Pure."""

from __future__ import annotations


def as_dockerignore(text: str) -> str:
    """Return the text of a `.dockerignore` that leaves out the same.

    The two differ in one thing: a pattern without a `/` before its end is one for every depth in gitignore's syntax,
    and for the top alone in Docker's.

    Args:
        text: in the syntax of gitignore.
    """
    lines = ["# Of .amlignore, by packager: what stays out of the image."]
    for line in text.splitlines():
        stripped = line.rstrip() if not line.endswith("\\ ") else line
        if not stripped or stripped.startswith("#"):
            lines.append(stripped)
            continue
        sign, pattern = ("!", stripped[1:]) if stripped.startswith("!") else ("", stripped)
        pattern = pattern.removeprefix("\\")
        anchored = "/" in pattern.rstrip("/")
        pattern = pattern.strip("/") if anchored else f"**/{pattern.rstrip('/')}"
        if pattern not in ("", "**/"):
            lines.append(f"{sign}{pattern}")
    return "\n".join(lines) + "\n"
