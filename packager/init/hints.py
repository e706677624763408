"""What files of others say of a package: hints for its spec, and an account of every key that they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from packager.units import visible

#: `taken` is in the spec; `left` is not; `empty` says nothing (null, a default); `unknown` is no key of such a file.
Outcome = Literal["taken", "left", "empty", "unknown"]

#: Characters of a key that are shown: they come from files that somebody made.
_LONGEST = 120


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one key of a file.

    Attributes:
        file: relative to the folder of the package.
        key: its dotted path; empty for what the file says as a whole.
        outcome: in the spec, or not.
        field: of the spec that has it; empty where none does.
        reason: why it is not taken over, or what of it is not.
        instead: the way to the same end; empty where there is none.
    """

    file: str
    key: str
    outcome: Outcome
    field: str = ""
    reason: str = ""
    instead: str = ""

    @property
    def place(self) -> str:
        """File and key, for people."""
        return f"{self.file}: {self.key}" if self.key else self.file

    def __str__(self) -> str:
        """Return a sentence with file and key."""
        if self.outcome == "taken":
            return f"{self.place} -> {self.field}" + (f" ({self.reason})" if self.reason else "")
        way = f"; {self.instead}" if self.instead else ""
        if not self.key:
            return f"{self.file}: {self.reason}{way}"
        return f"{self.file}: {self.key} is not taken over: {self.reason}{way}"


class Hints(msgspec.Struct, kw_only=True):
    """What was read; each file adds to it.

    Attributes:
        entry_script: relative to the folder.
        source_dir: relative to the folder; holds the entry script.
        keeps_name: the source directory has its own name in the image, as v1 has it.
        environment: path of a file.
        conda, pip, channels: an environment that is written into one of the files.
        curated: name of a curated environment.
        registered: an environment of the workspace, `name` or `name:version`.
        models: paths.
        registered_models: models of the workspace, `name` or `name:version`.
        description: of the package.
        workspace: name of one.
        env: environment variables.
        server: fields of the spec's `server`.
        service: fields of the spec's `service`.
        python: minor version.
        gpu: it is for a machine with GPUs.
        system_packages: Debian packages.
        tests: files with requests.
        ignores: path of an `.amlignore` → the text of the `.dockerignore` that says the same.
        read: files that were read.
        specs: files that are specs of packager, and were not.
        entries: what became of each key.
        origins: field of the spec → the key that it comes from.
    """

    entry_script: str | None = None
    source_dir: str | None = None
    keeps_name: bool = False
    environment: str | None = None
    conda: list[str] = []
    pip: list[str] = []
    channels: list[str] = []
    curated: str | None = None
    registered: str | None = None
    models: list[str] = []
    registered_models: list[str] = []
    description: str = ""
    workspace: str | None = None
    env: dict[str, str] = {}
    server: dict[str, Any] = {}
    service: dict[str, Any] = {}
    python: str | None = None
    gpu: bool = False
    system_packages: list[str] = []
    tests: list[str] = []
    ignores: dict[str, str] = {}
    read: list[str] = []
    specs: list[str] = []
    entries: list[Entry] = []
    origins: dict[str, str] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was passed over, a sentence each; not what says nothing."""
        return tuple(str(each) for each in self.entries if each.outcome in ("left", "unknown"))

    def say(self, file: str, reason: str, instead: str = "") -> None:
        """Tell something of a file as a whole."""
        self.entries.append(Entry(file=file, key="", outcome="left", reason=reason, instead=instead))

    def begin(self, file: str) -> None:
        """Note that a file is read."""
        if file not in self.read:
            self.read.append(file)


class Section:
    """A mapping of a file: each of its keys is asked for, and what nobody asks for is accounted for at the end.

    Keys are found whatever the case of their letters, and with or without `_` between words: people write both.

    Args:
        hints: get the account.
        file: that it is in.
        data: the mapping.
        prefix: dotted path of the mapping in the file; empty for the whole.
    """

    def __init__(self, hints: Hints, file: str, data: Mapping[str, Any], prefix: str = "") -> None:
        self.hints, self.file, self.prefix = hints, file, prefix
        self._data: dict[str, tuple[str, Any]] = {}
        self._told: set[str] = set()
        for key, value in data.items():
            if folded(key) in self._data:
                place = shown(f"{prefix}.{key}" if prefix else key)
                reason = "it is there a second time, in other letters: the first one counts"
                hints.entries.append(Entry(file=file, key=place, outcome="left", reason=reason))
            else:
                self._data[folded(key)] = (key, value)
        self._left = dict.fromkeys(self._data)

    def __contains__(self, key: str) -> bool:
        return folded(key) in self._data

    def is_mapping(self, key: str) -> bool:
        """Whether a value is a mapping; nothing is noted."""
        return isinstance(self._data.get(folded(key), (key, None))[1], dict)

    def names(self) -> tuple[str, ...]:
        """Return the keys as they are written."""
        return tuple(key for key, _ in self._data.values())

    def place(self, key: str) -> str:
        """Return the dotted path of a key, as it is written."""
        written = self._data.get(folded(key), (key, None))[0]
        return shown(f"{self.prefix}.{written}" if self.prefix else written)

    def get(self, key: str) -> Any:
        """Return a value; None where there is none, and where it says nothing."""
        _, value = self._data.get(folded(key), (key, None))
        if folded(key) in self._left and value in (None, "", [], {}):
            self._left.pop(folded(key))
            self._add(key, "empty", reason="it says nothing")
        self._left.pop(folded(key), None)
        return None if value in ("", [], {}) else value

    def text(self, key: str) -> str | None:
        """Return a text of one line; anything else is no text, which is noted."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self._wrong(key, "text", value)
            return None
        text = str(value).strip()
        if len(text) > 4096 or not text.isprintable():
            self.left(key, "it is no text of one line")
            return None
        return text or None

    def flag(self, key: str) -> bool | None:
        """Return true or false, also written as text."""
        value = self.get(key)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            value = value.lower() == "true"
        if value is None or isinstance(value, bool):
            return value
        self._wrong(key, "true or false", value)
        return None

    def section(self, key: str) -> Section | None:
        """Return a mapping."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self._wrong(key, "a mapping", value)
            return None
        self._told.add(folded(key))
        return Section(self.hints, self.file, value, self.place(key))

    def items(self, key: str) -> list[Any]:
        """Return a list."""
        value = self.get(key)
        if value is None or isinstance(value, list):
            return value or []
        self._wrong(key, "a list", value)
        return []

    def took(self, key: str, field: str, reason: str = "") -> None:
        """Note that a key is in the spec."""
        self._add(key, "taken", field=field, reason=reason)
        self.hints.origins.setdefault(field, f"{self.file}: {self.place(key)}")

    def left(self, key: str, reason: str, instead: str = "") -> None:
        """Note that a key is not in the spec, and why."""
        self._add(key, "left", reason=reason, instead=instead)

    def left_part(self, key: str, part: str, reason: str, instead: str) -> None:
        """Note that a part of what is taken is not in the spec: `[2]`, say; see `left`."""
        place = f"{self.place(key)}{part}"
        self.hints.entries.append(Entry(file=self.file, key=place, outcome="left", reason=reason, instead=instead))

    def put(self, key: str, field: str, value: Any, into: dict[str, Any], reason: str = "") -> bool:
        """Set a field, once: what another file said before stays. Return whether it was set.

        Args:
            key: it comes from.
            field: of the spec, dotted; its last part is the name in `into`.
            value: of the field.
            into: gets it.
            reason: what of it is not as it was.
        """
        name = field.rpartition(".")[2]
        if name in into and into[name] != value:
            self.left(key, f"{self.hints.origins.get(field, 'another file')} has said it already")
            return False
        into[name] = value
        self.took(key, field, reason)
        return True

    def rest(self, known: Mapping[str, tuple[str, str]] | None = None) -> None:
        """Account for the keys that nobody asked for.

        Args:
            known: key → why it is not taken over, and the way to the same end; all others are unknown.
        """
        table = {folded(key): value for key, value in (known or {}).items()}
        for key in list(self._left):
            written, value = self._data[key]
            if value in (None, "", [], {}) or value is False:
                self._add(written, "empty", reason="it says nothing")
            elif key in table:
                self.left(written, *table[key])
            else:
                self._add(written, "unknown", reason="packager knows no such key here")
        self._left.clear()
        for key in [each for each in self._data if each not in self._told]:
            self._add(self._data[key][0], "empty", reason="it says what is so anyway")

    def _wrong(self, key: str, meant: str, value: Any) -> None:
        kinds = {dict: "a mapping", list: "a list", bool: "true or false", str: "text", int: "a number"}
        self.left(key, f"it is {kinds.get(type(value), 'a number')}, and {meant} is meant")

    def _add(self, key: str, outcome: Outcome, *, field: str = "", reason: str = "", instead: str = "") -> None:
        entry = Entry(file=self.file, key=self.place(key), outcome=outcome, field=field, reason=reason, instead=instead)
        self._told.add(folded(key.partition("[")[0]))
        if entry not in self.hints.entries:
            self.hints.entries.append(entry)


def folded(key: str) -> str:
    """Return a key without its case and the `_` in it."""
    return key.lower().replace("_", "")


def shown(text: str, longest: int = _LONGEST) -> str:
    """Return a text of somebody's file on one line, and not too long."""
    text = visible(text.replace("\n", "\\n"))
    return text if len(text) <= longest else f"{text[:longest]}…"
