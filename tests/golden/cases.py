"""The golden cases: what their committed inputs render to, and how that is written down for people to read.

One case, the reference, has its texts in full. Every other says how it differs from the case that is most like it, so
that a change that all have in common (a label, a variable, a default) changes the reference alone.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from packager.context.build_context import BuildContext
from packager.context.manifest import NAME as MANIFEST
from packager.contract import INPUTS_LABEL
from packager.handoff.context import build_context
from packager.plan.plan import Dialect, Plan
from packager.spec import load_spec
from packager.steps.plan import plan_image
from packager.storage.models import Store

GOLDEN = Path(__file__).parent
DIALECTS: tuple[Dialect, ...] = ("buildkit", "plain")

REFERENCE = "cpu-one-model"
#: Case → the cases that it is told by: each of its files by that of the first which has one.
LIKE = {
    "arm-edge-conda-two-models": ("conda-rattler", "arm-edge-one-model"),
    "arm-edge-one-model": (REFERENCE,),
    "conda-rattler": ("cpu-two-models",),
    "cpu-by-pip": ("cpu-from-source",),
    "cpu-from-source": (REFERENCE,),
    "cpu-no-code": (REFERENCE,),
    "cpu-registered": ("cpu-two-models",),
    "cpu-two-models": (REFERENCE,),
    "fpga-pip-one-model": (REFERENCE,),
    "fpga-two-models": ("conda-rattler",),
    "gpu-pip-one-model": (REFERENCE,),
    "gpu-two-models": ("conda-rattler",),
}
CASES = (REFERENCE, *LIKE)
#: The cases whose plain dialect is told as well: environments of pip, of rattler, of micromamba.
PLAIN = (REFERENCE, "conda-rattler", "gpu-two-models")

_SPLIT_WORDS = re.compile(r'(?<="), (?=")')
_ASSIGNMENT = re.compile(r"(?:ENV|LABEL) [^=]+")
_STAGE = re.compile(r"FROM .*?(?: AS (\w+))?$")


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """One case in one dialect: its plan, and the build context made of it."""

    plan: Plan
    context: BuildContext

    @property
    def texts(self) -> dict[str, str]:
        """Name → text of the files that people read: the instructions, and those for who deploys the image."""
        names = ("Dockerfile", "HANDOFF.md", *self.plan.files)
        files = {file.path: file.text for file in self.context.files}
        return {name: files[name] or "" for name in names}


@functools.cache
def rendered(case: str, dialect: Dialect = "buildkit") -> Rendered:
    """Return a case as it renders now."""
    spec_file = load_spec(GOLDEN / case / "input")
    (target,) = spec_file.spec.target_names
    planned = plan_image(spec_file, target, digest_model=Store().digest).in_dialect(dialect)
    return Rendered(plan=planned.plan, context=build_context(planned))


def outputs(case: str) -> dict[str, str]:
    """Return name → text of what is committed for a case beside its input."""
    own = rendered(case)
    written = {}
    if case == REFERENCE:
        written = {**own.texts, MANIFEST: own.context.manifest_text}
    else:
        others = {other: _comparable(rendered(other)) for other in LIKE[case]}
        sides = []
        for name, text in _comparable(own).items():
            other = next((other for other, texts in others.items() if name in texts), None)
            if other is None:
                # The first case that has such a file.
                written[name] = own.texts[name]
            else:
                sides.append((f"{other}/{name}", others[other][name], f"{case}/{name}", text))
        written["difference.diff"] = "\n".join(filter(None, (text_difference(*side) for side in sides)))
    if case in PLAIN:
        plain = _comparable(rendered(case, "plain"))
        pairs = [(f"{case}/{name}", text, f"plain/{name}", plain[name]) for name, text in _comparable(own).items()]
        written["plain.diff"] = "\n".join(filter(None, (text_difference(*pair) for pair in pairs)))
    return written


def _comparable(case: Rendered) -> dict[str, str]:
    """Return the texts of a case and the list of its context's files, with names in place of what contents decide."""
    plan = case.plan
    names = {layer.folder: f"layers/{layer.name}-<digest>" for layer in plan.layers}
    names |= {plan.base.digest: "<digest of the base>", plan.lock_digest: "<digest of the lock>"}
    names[plan.config.labels[INPUTS_LABEL]] = "<digest of the inputs>"
    if plan.environment.conda is not None:
        names.setdefault(plan.environment.conda.installer_base.digest, "<digest of the installer's base>")
    files = "".join(f"{file.mode:04o} {file.path}\n" for file in case.context.files)
    return {name: _replaced(text, names) for name, text in {**case.texts, "files": files}.items()}


def _replaced(text: str, names: Mapping[str, str]) -> str:
    for written, name in names.items():
        text = text.replace(written, name)
    return text


def text_difference(before_name: str, before: str, after_name: str, after: str) -> str:
    """Return how a text differs from another, as a diff without line numbers and context; empty where it does not.

    Lines stand under the stage (Dockerfile) or heading (Markdown) that they belong to. Where both texts have the same
    variable or label, its two values stand together.
    """
    old, new = _sections(before), _sections(after)
    lines = []
    for title in dict.fromkeys((*new, *old)):
        if title not in new:
            lines.append(f"@@ {title}: not there @@")
        elif changed := list(_changed(old.get(title, []), new[title])):
            lines += [f"@@ {title} @@" if title else "@@ @@", *changed]
    return "".join(f"{line}\n" for line in (f"--- {before_name}", f"+++ {after_name}", *lines)) if lines else ""


def _sections(text: str) -> dict[str, list[str]]:
    """Return title → lines of each stage or chapter; what is before the first has no title."""
    sections: dict[str, list[str]] = {"": []}
    title = ""
    for line in text.splitlines():
        stage = _STAGE.match(line)
        if stage:
            title = f"stage {stage[1]}" if stage[1] else "the image"
        elif line.startswith("## "):
            title = line.removeprefix("## ")
        # One word a line: what follows the entry script in a command is the same for all.
        words = _SPLIT_WORDS.sub(",\n    ", line) if line.startswith("ENTRYPOINT ") else line
        sections.setdefault(title, []).extend(words.splitlines() or [""])
    return sections


def _changed(old: list[str], new: list[str]) -> Iterator[str]:
    pairs = difflib.SequenceMatcher(None, [_key(line) for line in old], [_key(line) for line in new], autojunk=False)
    for kind, start, end, other_start, other_end in pairs.get_opcodes():
        if kind == "equal":
            for one, other in zip(old[start:end], new[other_start:other_end], strict=True):
                yield from (f"-{one}", f"+{other}") if one != other else ()
        else:
            yield from (f"-{line}" for line in old[start:end])
            yield from (f"+{line}" for line in new[other_start:other_end])


def _key(line: str) -> str:
    """Return what two lines have in common that say the same of different things."""
    assignment = _ASSIGNMENT.match(line)
    return assignment[0] if assignment else line.replace("COPY --link ", "COPY ")
