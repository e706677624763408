"""How values are written in the files of other programs than Kubernetes: filters of templates. Pure."""

from __future__ import annotations


def compose_text(value: object) -> str:
    """Return a text as a double-quoted scalar of YAML, in which Compose looks for no variables (`$`)."""
    return escaped(str(value).replace("$", "$$"))


def unit_text(value: object) -> str:
    """Return a text as one quoted word of a systemd unit (systemd.syntax, "Quoting"), as `unit_line` does."""
    return escaped(unit_line(value))


def unit_line(value: object) -> str:
    """Return a text for the rest of a unit's line.

    `%` starts a specifier there (systemd.unit, "Specifiers"). Quadlet puts what it is given into the command of a
    service, where `$` starts a variable (systemd.service, "Command lines").
    """
    return str(value).replace("%", "%%").replace("$", "$$")


def escaped(value: object) -> str:
    r"""Return a text in double quotes, which no value gets out of.

    Quotes, backslashes and what cannot be printed are escaped as YAML, systemd and C have it: `\uXXXX`, `\UXXXXXXXX`.
    """
    return f'"{"".join(map(_escaped_character, str(value)))}"'


def _escaped_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"


def comment(value: object) -> str:
    """Return a text for a comment: what cannot be printed, such as a line break, is left out."""
    return "".join(filter(str.isprintable, str(value)))


def memory(value: int) -> str:
    """Return bytes as Docker and Podman have them, in the largest binary unit that is exact: `512m`."""
    for power, unit in ((3, "g"), (2, "m"), (1, "k")):
        if value % 1024**power == 0:
            return f"{value // 1024**power}{unit}"
    return f"{value}b"


FILTERS = {
    "comment": comment,
    "compose": compose_text,
    "escaped": escaped,
    "memory": memory,
    "unit": unit_text,
    "unit_line": unit_line,
}
