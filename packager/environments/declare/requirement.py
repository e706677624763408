"""One requirement: its normal form, or why it cannot be locked. Pure.

Grammar: the packaging specification "Dependency specifiers" (PEP 508), by the `packaging` library. What pip accepts
beside it (URLs, paths, VCS references, options) names bytes that nobody can verify or mirror, and is refused.
"""

from __future__ import annotations

import re

from packager.errors import Location, SpecError

#: The server that answers `/score` in every image (see CONTRACT of azureml-inference-server-http 1.5), normalised.
INFERENCE_SERVER = "azureml-inference-server-http"

#: Characters of one requirement, without its hashes: far above any real one.
MAX_LENGTH = 4096

# A name, extras, and comparisons with releases (`~=` wants two parts, a prefix match is for `==` and `!=`).
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_RELEASE = r"[0-9]+(?:\.[0-9]+)*"
_ONE = rf"[ \t]*(?:(?:==|!=)[ \t]*{_RELEASE}(?:\.\*)?|(?:>=|<=|<|>)[ \t]*{_RELEASE}|~=[ \t]*[0-9]+\.{_RELEASE})[ \t]*"
_PLAIN = re.compile(rf"({_NAME})[ \t]*(?:\[({_NAME}(?:,[ \t]*{_NAME})*)\])?({_ONE}(?:,{_ONE})*)?")
# Of a normal form; parsing it a second time would take most of the time that an unchanged lock takes.
_HEAD = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)(\[)?")
# C0 (a tab is white space), DEL, NEL and the Unicode separators: some readers take them for line ends, others do not.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]")
_VCS = re.compile(r"(?:^|[\s@])(git|hg|svn|bzr)\+", re.IGNORECASE)
_FILE_SUFFIXES = (".whl", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip", ".egg")
_INDEX_REMEDY = "publish it as a wheel to a package index and name it there: name==version"


def normalise(text: str, where: Location) -> str:
    """Return the normal form of a requirement: canonical names, sorted extras and specifiers, one spelling of markers.

    Args:
        text: one requirement, without comments, options or line continuations.
        where: named in errors.

    Raises:
        SpecError: it is not one, or names a URL, a path, a VCS reference or an environment variable. Nothing that could
            hold credentials is repeated in the message.
    """
    text = text.strip()
    _refuse_unusable(text, where)
    _refuse_places(text, where)
    plain = plain_form(text)
    if plain is not None:
        return plain
    # Imported late: it takes longer than all else that an unchanged lock does.
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise SpecError(f"{text!r} is not a requirement: {reason}", where=where, remedy=_syntax_remedy(text)) from None
    requirement.name = canonical_name(requirement.name)
    requirement.extras = {canonical_name(extra) for extra in requirement.extras}
    return str(requirement)


def plain_form(text: str) -> str | None:
    """Return the normal form of what most requirements are, `name==1.2` or `name>=1,<2`; None of all others."""
    found = _PLAIN.fullmatch(text)
    if found is None:
        return None
    name, extras, specifiers = found.groups()
    wanted = {canonical_name(each.strip()) for each in extras.split(",")} if extras else set()
    limits = {re.sub(r"[ \t]", "", each) for each in specifiers.split(",")} if specifiers else set()
    if len({each.rstrip("0123456789.*") for each in limits}) < len(limits):
        # `>=1` and `>=1.0` are one to the library, by rules that are its own.
        return None
    shown = f"[{','.join(sorted(wanted))}]" if wanted else ""
    return canonical_name(name) + shown + ",".join(sorted(limits))


def canonical_name(name: str) -> str:
    """Return the canonical form of a package's name (the packaging specification "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(text: str) -> str:
    """Return the canonical name of a requirement that `normalise` returned."""
    return _head(text)[1]


def has_extras(text: str) -> bool:
    """Whether a requirement that `normalise` returned asks for extras."""
    return _head(text)[2] is not None


def _head(text: str) -> re.Match[str]:
    found = _HEAD.match(text)
    assert found, f"{text!r} is not in normal form"
    return found


def _refuse_unusable(text: str, where: Location) -> None:
    if len(text) > MAX_LENGTH:
        raise SpecError(f"a requirement is longer than {MAX_LENGTH} characters", where=where)
    control = _CONTROL.search(text)
    if control:
        code = f"U+{ord(control[0]):04X}"
        raise SpecError(f"a requirement holds the control character {code}", where=where, remedy="remove it")
    if "${" in text:
        raise SpecError(
            "environment variables (`${NAME}`) are not replaced in requirements",
            where=where,
            remedy="write the value; a lock must not depend on the machine that makes it",
        )


def _refuse_places(text: str, where: Location) -> None:
    if _VCS.search(text):
        raise SpecError(
            "a VCS reference (`git+…`) cannot be locked: even one pinned to a commit has no wheel with a hash",
            where=where,
            remedy=_INDEX_REMEDY,
        )
    # A marker may hold any text in quotes, but a URL ends before ` ;` and an `@` stands only after the name.
    if "://" in text or re.match(r"[A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?\s*@", text):
        raise SpecError("a requirement by URL cannot be locked", where=where, remedy=_url_remedy(text))
    head = text.split(";")[0].split("[")[0].strip()
    if head.startswith((".", "/", "~")) or "/" in head or "\\" in head or head.lower().endswith(_FILE_SUFFIXES):
        raise SpecError(
            "a local path cannot be locked: only this machine has it",
            where=where,
            remedy=f"{_INDEX_REMEDY}; code that belongs to the entry script can stand in `source_dir`",
        )


def _url_remedy(text: str) -> str:
    from packager.environments.declare.import_names import SPACY_REMEDY, is_of_spacy

    if is_of_spacy(canonical_name(text.rpartition("/")[2].partition("-")[0])):
        return SPACY_REMEDY
    if re.search(r"@\s*file:", text):
        # `pip freeze` in an environment of conda: where a package was made is on no other machine.
        return "write its version in place of the folder, as `pip list --format=freeze` does for all packages"
    return _INDEX_REMEDY


def _syntax_remedy(text: str) -> str:
    if re.match(r"^[A-Za-z0-9._-]+\s*=\s*[^=]", text):
        return "pip wants two equals signs: name==version"
    return "write it as name, name==1.2 or name[extra]>=1,<2; markers after `;`"
