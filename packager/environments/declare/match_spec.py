"""Match specs: one requirement as conda takes it, in normal form, or why it cannot be locked. Pure.

Grammar: conda's documentation, "Package match specifications", and the CEPs on `MatchSpec`; where they leave a choice,
what py-rattler 0.28 makes of it (the tests hold both against each other). py-rattler itself is not imported: it takes
longer to load than all else that an unchanged lock does.
"""

from __future__ import annotations

import re

import msgspec

from packager.environments.declare.requirement import MAX_LENGTH
from packager.errors import Location, SpecError
from packager.spec.channel import check_channel

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
# A comment inside of the text, as some exports leave it; YAML has cut its own.
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?", re.IGNORECASE)
_HEAD = re.compile(r"([^\s=<>!~,|()\[\]]*)(.*)", re.DOTALL)
# CEP "Package naming": subdirs are `noarch` or `system-architecture`.
_SUBDIR = re.compile(r"noarch|(?:linux|osx|win|emscripten|wasi|freebsd|zos)-[a-z0-9_]+")
_ARCHIVE = re.compile(r"\.(?:conda|tar\.bz2|whl|tar\.gz|zip)(?:#.*)?$", re.IGNORECASE)
_ATOM = re.compile(r"(==|!=|<=|>=|~=|<|>|=)?([A-Za-z0-9_.+!-]*?)(\.?\*)?")
_BUILD = re.compile(r"[A-Za-z0-9_.+*]+")
_BUILD_REGEX = re.compile(r"\^[\x21\x23-\x7e]*\$")
# `=` before a build string: not at the start, and not the end of an operator.
_BUILD_MARK = re.compile(r"(?<=[^=!|,<>~])=([^=<>!~,|]*)$")
_OPTION = re.compile(r"\s*([A-Za-z0-9_]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s,'\"\[\]=]+))\s*(?:,|$)")
#: Keys in brackets that have no other place, and the form of their values.
_OPTIONS = {
    "build_number": re.compile(r"(?:==|=|!=|<=|>=|<|>)?\d{1,9}"),
    "fn": re.compile(r"[A-Za-z0-9_.+!-]+"),
    "license": re.compile(r"[\x20\x21\x23-\x7e]+"),
    "license_family": re.compile(r"[\x20\x21\x23-\x7e]+"),
    "md5": re.compile(r"[0-9a-fA-F]{32}"),
    "sha256": re.compile(r"[0-9a-fA-F]{64}"),
    "track_features": re.compile(r"[A-Za-z0-9_. ,-]+"),
}
_FORMS = 'name, name=1.2, name>=1,<2, name=1.2.3=build, channel::name or name[version=">=1", build="cuda*"]'


class MatchSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement of conda, in its parts.

    Attributes:
        name: lower case.
        version: expression with an operator or a star on each part (`>=1,<2`, `3.12.*`, `==1.2`); empty for any.
        build: build string, with `*` or as `^regex$`; empty for any.
        channel: the only one to take it from; empty for any.
        subdir: the only one of that channel; empty for any.
        options: further keys in brackets, sorted.
    """

    name: str
    version: str = ""
    build: str = ""
    channel: str = ""
    subdir: str = ""
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        place = f"{self.channel}/{self.subdir}::" if self.subdir and self.channel else ""
        place = place or (f"{self.channel}::" if self.channel else "")
        options = list(self.options)
        words = [place + self.name]
        regex = self.build.startswith("^")
        if self.version or (self.build and not regex):
            words.append(self.version or "*")
        if self.build and not regex:
            words.append(self.build)
        if regex:
            options.append(("build", self.build))
        if self.subdir and not self.channel:
            options.append(("subdir", self.subdir))
        brackets = ", ".join(f'{key}="{value}"' for key, value in sorted(options))
        return " ".join(words) + (f"[{brackets}]" if brackets else "")


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A match spec, and where it was asked for."""

    spec: MatchSpec
    where: Location


def parse_match_spec(text: str, where: Location) -> MatchSpec:
    """Return a match spec in its parts.

    Args:
        text: one requirement of conda.
        where: named in errors.

    Raises:
        SpecError: it is not one, names a file or a URL, or a channel with credentials. Nothing that could hold
            credentials is repeated in the message.
    """
    text = _usable(text, where)
    body, options = _brackets(text, where)
    channel, subdir, body = _place(body, where)
    found = _HEAD.match(body.strip())
    assert found, "matches any text"
    name, rest = found[1], found[2].strip()
    version, build = _version_and_build(rest, text, where)
    for key, value in (("version", version), ("build", build), ("channel", channel), ("subdir", subdir)):
        if value and key in options:
            raise _wrong(f"says its {key} twice, before the brackets and in them", text, where)
    if "channel" in options:
        channel, inner = _channel(options.pop("channel"), where)
        subdir = subdir or inner
    version = options.pop("version", version)
    build = options.pop("build", build)
    subdir = options.pop("subdir", subdir).lower()
    return MatchSpec(
        name=_name(name, text, where),
        version=_normal_version(version, text, where),
        build=_normal_build(build, text, where),
        channel=channel,
        subdir=_checked_subdir(subdir, text, where),
        options=tuple(sorted(options.items())),
    )


def _wrong(message: str, text: str, where: Location, remedy: str = f"write it as {_FORMS}") -> SpecError:
    # A place may hold credentials: what stands before `::` is not shown.
    shown = text if "://" not in text else text.rpartition("::")[2] if "::" in text else "a requirement"
    return SpecError(f"{shown!r} {message}" if shown != "a requirement" else f"{shown} {message}", where=where,
                     remedy=remedy)  # fmt: skip


def _usable(text: str, where: Location) -> str:
    if len(text) > MAX_LENGTH:
        raise SpecError(f"a requirement is longer than {MAX_LENGTH} characters", where=where)
    control = _CONTROL.search(text)
    if control:
        code = f"U+{ord(control[0]):04X}"
        raise SpecError(f"a requirement holds the control character {code}", where=where, remedy="remove it")
    text = _COMMENT.sub("", text).strip()
    if "${" in text and "://" not in text:  # in the URL of a channel it may be
        raise SpecError(
            "environment variables (`${NAME}`) are not replaced in requirements",
            where=where,
            remedy="write the value; a lock must not depend on the machine that makes it",
        )
    if not text:
        raise SpecError("a requirement is empty", where=where, remedy="remove it, or name a package")
    head = text.partition("[")[0]
    if _ARCHIVE.search(head) and ("/" in head or "\\" in head) and "::" not in head:
        raise SpecError(
            "a package by URL or path is not taken: nothing says what it needs",
            where=where,
            remedy="name its channel, version and build: channel::name=version=build",
        )
    return text


# --- parts ------------------------------------------------------------------------------------------------------------


def _brackets(text: str, where: Location) -> tuple[str, dict[str, str]]:
    """Return what stands before the brackets, and the keys in them."""
    head, mark, tail = text.partition("[")
    if not mark:
        return text, {}
    if not tail.endswith("]"):
        raise _wrong("has brackets that do not end it", text, where)
    inner, options, start = tail[:-1], {}, 0
    while start < len(inner.rstrip()):
        found = _OPTION.match(inner, start)
        if not found:
            raise _wrong('has brackets that are not key="value", …', text, where)
        key, value = found[1].lower(), (found[2] or found[3] or found[4] or "").strip()
        if key in options:
            raise _wrong(f"says its {key} twice", text, where)
        options[key] = _option(key, value, text, where)
        start = found.end()
    return head, options


def _option(key: str, value: str, text: str, where: Location) -> str:
    if key in ("version", "build", "channel", "subdir"):
        if not value:
            raise _wrong(f"has an empty {key}", text, where)
        return value
    form = _OPTIONS.get(key)
    if form is None:
        known = ", ".join(sorted({*_OPTIONS, "version", "build", "channel", "subdir"}))
        raise _wrong(f"has the key {key!r} in brackets, which is not supported", text, where, f"known: {known}")
    if not form.fullmatch(value):
        raise _wrong(f"has a {key} that is not valid", text, where)
    if key == "build_number" and value[0].isdigit():
        return f"=={value}"
    return value.lower() if key in ("md5", "sha256") else value


def _place(body: str, where: Location) -> tuple[str, str, str]:
    place, mark, rest = body.rpartition("::")
    if not mark:
        return "", "", body
    return (*_channel(place, where), rest)


def _channel(text: str, where: Location) -> tuple[str, str]:
    """Return a channel without its subdir, and that; either may be all there is."""
    head, _, last = text.strip().rstrip("/").rpartition("/")
    if head and _SUBDIR.fullmatch(last.lower()):
        return check_channel(head, where), last.lower()
    return check_channel(text, where), ""


def _name(name: str, text: str, where: Location) -> str:
    if not name:
        raise _wrong("names no package", text, where)
    if "*" in name:
        raise _wrong("is a pattern, not a package", text, where, "name each package")
    if not _NAME.fullmatch(name) or len(name) > 256:
        raise _wrong("is not a requirement of conda", text, where)
    if name.startswith("__"):
        raise _wrong(
            "is a virtual package: what a target promises about the machine",
            text,
            where,
            f'say it in the spec: `targets: {{cpu: {{virtual_packages: {{{name}: "…"}}}}}}`',
        )
    return name.lower()


def _checked_subdir(subdir: str, text: str, where: Location) -> str:
    if subdir and not _SUBDIR.fullmatch(subdir):
        raise _wrong(f"has a subdir that is none: {subdir!r}", text, where, "such as linux-64 or noarch")
    return subdir


def _version_and_build(rest: str, text: str, where: Location) -> tuple[str, str]:
    """Return both as they stand, the version exact where a build follows it."""
    rest = re.sub(r"\s*([,|])\s*", r"\1", rest)
    rest = re.sub(r"([<>=!~])\s+", r"\1", rest)
    rest = re.sub(r"\(\s+", "(", re.sub(r"\s+\)", ")", rest))
    if rest.startswith("(") and rest.endswith(")") and "(" not in rest[1:]:
        rest = rest[1:-1]  # `name (>=1.2)`, the way that Debian has it
    words = rest.split()
    if len(words) > 2 or (len(words) == 2 and re.search(r"[<>=!~,|]", words[1])):
        raise _wrong("has more than a version and a build", text, where, "join versions by commas: name >=1,<2")
    if len(words) == 2:
        return _exact(words[0]), words[1]
    found = _BUILD_MARK.search(rest)
    if not found:
        return rest, ""
    version = rest[: found.start()]
    # `name=1.2=` is what some exports write where they were told to leave builds out.
    return (_exact(version), found[1]) if found[1] else (version, "")


def _exact(version: str) -> str:
    """`=1.2` before a build means that very version; a star says otherwise."""
    return f"={version}" if re.match(r"=[^=]", version) and not version.endswith("*") else version


def _normal_build(build: str, text: str, where: Location) -> str:
    if build and not _BUILD.fullmatch(build) and not _BUILD_REGEX.fullmatch(build):
        raise _wrong("has a build that is not valid", text, where)
    return build


def _normal_version(version: str, text: str, where: Location) -> str:
    """Return a version expression with an operator or a star on each of its parts."""
    version = re.sub(r"\s+", "", version)
    if not version:
        return ""
    parts = re.split(r"([,|()])", version)
    result, depth = [], 0
    for part in parts:
        if part in ("(", ")"):
            depth += 1 if part == "(" else -1
            if depth < 0:
                raise _wrong("has a version that is not valid", text, where)
        result.append(part if part in ("", ",", "|", "(", ")") else _atom(part, text, where))
    joined = "".join(result)
    if depth or re.search(r"[,|(][,|)]|[^,|(]\(|\)[^,|)]|^[,|]|[,|(]$", joined):
        raise _wrong("has a version that is not valid", text, where)
    return joined


def _atom(part: str, text: str, where: Location) -> str:
    found = _ATOM.fullmatch(part)
    operator, version, star = (found[1] or "", found[2] or "", bool(found[3])) if found else ("", "", False)
    if not found or (not version and not star) or (version and not re.match(r"[A-Za-z0-9]", version)):
        raise _wrong("has a version that is not valid", text, where)
    if not version:
        if operator in ("", "=", "=="):
            return "*"
        raise _wrong("has a version that is not valid", text, where)
    if operator == "=" or (star and operator in ("", "==")):
        return f"{version}.*"
    if operator == "!=":
        return f"!={version}.*" if star else f"!={version}"
    if operator == ">" and star:
        return f">={version}"
    return f"{operator or '=='}{version}"
