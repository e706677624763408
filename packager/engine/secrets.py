"""What a build may know of this machine without any layer, log or command line knowing it: secrets and proxies. Pure.

BuildKit mounts a secret into the one RUN step that asks for it. Values travel in the environment of the child process
or in the user's own file; the command line only names them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from packager.decoding import decode_json
from packager.errors import UsageError
from packager.proxies import host_of, is_loopback

#: Ids that the Dockerfile's environment step asks for.
PIP_CONF = "pip.conf"
CA = "ca"
RATTLER_AUTH = "rattler-auth"

#: Variable of the child process that holds the text of pip.conf.
PIP_CONF_VARIABLE = "PACKAGER_PIP_CONF"
#: Variable of the child process that holds rattler's file, and what channels name by variables.
RATTLER_AUTH_VARIABLE = "PACKAGER_RATTLER_AUTH"

_INDEX = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
_EXTRA_INDEXES = ("PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
_TRUSTED = ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST")
_CA_FILES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")
_FORM = "id=ID,src=FILE or id=ID,env=VARIABLE"


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """One secret: an id, and the file or the environment variable that holds its value.

    Attributes:
        id: under which a RUN step asks for it.
        file: path of the file with the value.
        variable: name of the environment variable with the value.
    """

    id: str
    file: str | None = None
    variable: str | None = None

    @property
    def argument(self) -> str:
        """The text after `--secret`."""
        source = f"env={self.variable}" if self.file is None else f"src={self.file}"
        if set(source) & set(',"'):  # buildx reads CSV
            source = '"' + source.replace('"', '""') + '"'
        return f"id={self.id},{source}"


class MachineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a build gets from this machine's environment.

    Attributes:
        secrets: for `--secret`.
        build_args: names for `--build-arg`; buildx takes their values from its environment.
        environ: variables to add to the environment of buildx.
    """

    secrets: tuple[Secret, ...] = ()
    build_args: tuple[str, ...] = ()
    environ: dict[str, str] = {}


def parse_secret(text: str) -> Secret:
    """Return the secret that a text in buildx's syntax names.

    Args:
        text: `id=ID`, with `src=FILE` (or `source`, `file`) or `env=VARIABLE`; `id=ID` alone takes the variable ID.

    Raises:
        UsageError: it is none, or it holds the value itself. The message never repeats the text, which may be secret.
    """
    fields: dict[str, str] = {}
    for field in next(csv.reader([text]), []):
        name, equals, value = field.partition("=")
        name = name.strip().lower()
        known = {"id": "id", "src": "src", "source": "src", "file": "src", "env": "env", "type": "type"}.get(name)
        if not equals or known is None or not value:
            raise UsageError(
                "--secret: a part of it is not id=, src= or env=",
                remedy=f"write {_FORM}; a value itself would be seen in the list of processes",
            )
        fields[known] = value
    secret = Secret(id=fields.get("id", ""), file=fields.get("src"), variable=fields.get("env"))
    if not secret.id or (secret.file and secret.variable) or fields.get("type", "file") not in ("file", "env"):
        raise UsageError("--secret names no id, or both a file and a variable", remedy=f"write {_FORM}")
    # buildx reads `type=env,src=NAME` as a variable.
    if fields.get("type") == "env" and secret.file:
        return Secret(id=secret.id, variable=secret.file)
    if secret.file is None and secret.variable is None:
        return Secret(id=secret.id, variable=secret.id)
    return secret


def index_secrets(environ: Mapping[str, str], given: Sequence[Secret] = ()) -> MachineSettings:
    """Return the secrets that hand this machine's package index, channels and CA bundle to the environment step.

    Args:
        environ: where `PIP_*` and `UV_*` index settings, the place of rattler's credentials, and the usual CA variables
            are looked up; pip's go first.
        given: the user's own secrets; one with the id `pip.conf`, `rattler-auth` or `ca` takes the place of ours.
    """
    ids = {secret.id for secret in given}
    text = pip_conf(environ)
    secrets = []
    if text and PIP_CONF not in ids:
        secrets.append(Secret(id=PIP_CONF, variable=PIP_CONF_VARIABLE))
    bundle = next((environ[name] for name in _CA_FILES if environ.get(name)), None)
    if bundle and CA not in ids:
        secrets.append(Secret(id=CA, file=bundle))
    credentials = rattler_credentials(environ)
    if credentials and RATTLER_AUTH not in ids:
        secrets.append(Secret(id=RATTLER_AUTH, file=credentials))
    ours = any(secret.variable == PIP_CONF_VARIABLE for secret in secrets)
    return MachineSettings(secrets=tuple(secrets), environ={PIP_CONF_VARIABLE: text} if ours else {})


def with_access(settings: MachineSettings, access: Mapping[str, Any], own: str) -> MachineSettings:
    """Return settings whose secret `rattler-auth` also holds the credentials of channels that name variables.

    Args:
        settings: what a build gets.
        access: URL of a channel → its credentials; see `packager.environments.channel_credentials`.
        own: text of the file that the secret names so far; empty where there is none.

    Raises:
        UsageError: that text is not JSON. It is not repeated.
    """
    if not access:
        return settings
    try:
        known = decode_json(own or "{}", dict[str, Any])
    except msgspec.DecodeError:
        raise UsageError(
            "rattler's file of credentials is not a JSON object", remedy="see RATTLER_AUTH_FILE, or the secret's `src=`"
        ) from None
    kept = tuple(each for each in settings.secrets if each.id != RATTLER_AUTH)
    text = msgspec.json.encode({**access, **known}).decode()
    return msgspec.structs.replace(
        settings,
        secrets=(*kept, Secret(id=RATTLER_AUTH, variable=RATTLER_AUTH_VARIABLE)),
        environ={**settings.environ, RATTLER_AUTH_VARIABLE: text},
    )


def rattler_credentials(environ: Mapping[str, str]) -> str | None:
    """Return where rattler keeps the credentials of conda channels; the file need not be there.

    Source: rattler_networking's `AuthenticationStorage` and `FileStorage`.
    """
    home = environ.get("HOME")
    return environ.get("RATTLER_AUTH_FILE") or (f"{home}/.rattler/credentials.json" if home else None)


def proxy_args(environ: Mapping[str, str], given: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of the proxy variables that a build should get.

    A proxy on the loopback address is left out: in a build container that address is the container's own. So are the
    variables that the user gives by `--build-arg`. These names are predefined in a Dockerfile, and neither history nor
    cache of an image sees their values (Dockerfile reference, "Predefined ARGs").
    """
    taken = {each.partition("=")[0].upper() for each in given}
    names = [name for base in _PROXIES for name in (base, base.lower()) if environ.get(name) and base not in taken]
    return tuple(name for name in names if name.upper() == "NO_PROXY" or not _is_loopback(environ[name]))


def pip_conf(environ: Mapping[str, str]) -> str:
    """Return a pip.conf with this machine's index settings; empty where it has none.

    uv's named indexes (`UV_INDEX=name=URL`) get the credentials of `UV_INDEX_NAME_USERNAME` and `…_PASSWORD`.
    """
    lines = ["[global]"]
    index = [_named(word, environ) for name in _INDEX for word in environ.get(name, "").split()][:1]
    extra = [_named(word, environ) for name in _EXTRA_INDEXES for word in environ.get(name, "").split()]
    trusted = [word for name in _TRUSTED for word in environ.get(name, "").split()]
    for key, values in (("index-url", index), ("extra-index-url", extra), ("trusted-host", trusted)):
        if values:
            lines.append(f"{key} = " + "\n    ".join(dict.fromkeys(values)))
    return "\n".join(lines) + "\n" if len(lines) > 1 else ""


def _named(word: str, environ: Mapping[str, str]) -> str:
    """Return the URL of `name=URL`, with the credentials that uv knows for the name."""
    name, equals, url = word.partition("=")
    if not equals or "/" in name:
        return word
    prefix = "UV_INDEX_" + "".join(char if char.isalnum() else "_" for char in name.upper())
    user, password = environ.get(f"{prefix}_USERNAME", ""), environ.get(f"{prefix}_PASSWORD", "")
    # What is no URL is left to pip, which says so.
    if not (user or password) or not host_of(url) or "@" in (parts := urlsplit(url)).netloc:
        return url
    return parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}").geturl()


def _is_loopback(url: str) -> bool:
    return is_loopback(host_of(url if "//" in url else f"//{url}"))
