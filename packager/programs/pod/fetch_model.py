"""Fetches the files of an image from its registry into a folder: a model, where a cluster cannot mount an image.

    python fetch_model.py REGISTRY/REPOSITORY@sha256:… FOLDER

Nothing but Python's standard library, 3.8 or newer. Credentials are those of `$DOCKER_CONFIG/config.json`, where there
is one. Every document and layer is held against its digest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from typing import IO, Any

#: What a registry is asked for; the first that it has.
KINDS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)
#: Bytes that are read at once; bytes that a document may have.
BLOCK, MOST = 1 << 20, 4 << 20
SECONDS = 60


class FetchError(Exception):
    """It cannot be fetched, and why."""


class _SameHostOnly(urllib.request.HTTPRedirectHandler):
    """Registries send layers to other hosts, which must not see the password."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the next request, without credentials where it goes elsewhere, and none without TLS."""
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None:
            before, after = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
            if before.scheme == "https" and after.scheme != "https":
                raise FetchError("the registry sends to a place without TLS")
            if before.netloc != after.netloc:
                following.remove_header("Authorization")
        return following


_OPENER = urllib.request.build_opener(_SameHostOnly)


class Registry:
    """A repository at a registry.

    Args:
        host: of the registry.
        repository: in it.
        credentials: base64 of `name:password`; empty for nobody's.
    """

    def __init__(self, host: str, repository: str, credentials: str) -> None:
        local = host.partition(":")[0] in ("localhost", "127.0.0.1")
        at = "registry-1.docker.io" if host == "docker.io" else host
        self._root = "{}://{}/v2/{}/".format("http" if local else "https", at, repository)
        self._credentials = credentials
        self._authorization = "Basic " + credentials if credentials else ""

    def open(self, path: str) -> IO[bytes]:
        """Return an answer to be read.

        Raises:
            FetchError: the registry refuses, or does not answer.
        """
        try:
            return self._ask(path)
        except urllib.error.HTTPError as error:
            challenge = error.headers.get("WWW-Authenticate", "")
            if error.code != 401 or not challenge.lower().startswith("bearer "):
                raise FetchError(f"{self._root + path} answers {error.code}") from None
        except (urllib.error.URLError, OSError) as error:
            raise FetchError(f"{self._root + path} does not answer: {error}") from None
        try:
            self._authorization = "Bearer " + self._token(dict(re.findall(r'(\w+)="([^"]*)"', challenge)))
            return self._ask(path)
        except (urllib.error.URLError, OSError, KeyError, ValueError) as error:
            raise FetchError(f"{self._root + path} refuses: {error}") from None

    def _ask(self, path: str) -> IO[bytes]:
        headers = {"Accept": KINDS} if path.startswith("manifests/") else {}
        if self._authorization:
            headers["Authorization"] = self._authorization
        answer: IO[bytes] = _OPENER.open(urllib.request.Request(self._root + path, headers=headers), timeout=SECONDS)
        return answer

    def _token(self, challenge: dict[str, str]) -> str:
        asked = [(name, challenge[name]) for name in ("service", "scope") if name in challenge]
        query = urllib.parse.urlencode(asked)
        headers = {"Authorization": "Basic " + self._credentials} if self._credentials else {}
        request = urllib.request.Request(challenge["realm"] + "?" + query, headers=headers)
        with _OPENER.open(request, timeout=SECONDS) as answer:
            found = json.loads(answer.read(MOST))
        return str(found.get("token") or found["access_token"])


def document(registry: Registry, digest: str) -> dict[str, Any]:
    """Return a manifest or an index.

    Raises:
        FetchError: it is not what its digest says, or no document.
    """
    with registry.open("manifests/" + digest) as answer:
        text = answer.read(MOST)
    if "sha256:" + hashlib.sha256(text).hexdigest() != digest:
        raise FetchError(f"the registry answers another document than {digest}")
    found = json.loads(text)
    if not isinstance(found, dict):
        raise FetchError(f"{digest} is no manifest")
    return found


def fetch(reference: str, folder: str, environ: dict[str, str]) -> int:
    """Lay the files of an image down in a folder, and return how many there are.

    Raises:
        FetchError: it cannot be fetched.
    """
    name, _, digest = reference.partition("@")
    host, _, repository = name.partition("/")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or not repository:
        raise FetchError(f"{reference} is not REGISTRY/REPOSITORY@sha256:…")
    registry = Registry(host, repository, credentials_of(host, environ))
    found = document(registry, digest)
    if "manifests" in found:
        # The files are the same for each platform.
        found = document(registry, found["manifests"][0]["digest"])
    return sum(_layer(registry, each["digest"], folder) for each in found.get("layers", ()))


def credentials_of(host: str, environ: dict[str, str]) -> str:
    """Return what Docker's configuration has for a registry: base64 of `name:password`, or nothing."""
    path = os.path.join(environ.get("DOCKER_CONFIG", ""), "config.json")
    if not environ.get("DOCKER_CONFIG") or not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        entries = json.load(file).get("auths", {})
    names = ("https://index.docker.io/v1/", "docker.io") if host == "docker.io" else (host, "https://" + host)
    entry: dict[str, Any] = next((entries[each] for each in names if each in entries), {})
    if entry.get("auth"):
        return str(entry["auth"])
    if "username" in entry:
        return base64.b64encode(("{}:{}".format(entry["username"], entry.get("password", ""))).encode()).decode()
    return ""


def _layer(registry: Registry, digest: str, folder: str) -> int:
    seen = hashlib.sha256()
    # Beside the files, where there is room for them, and on their way out again before the server starts.
    with tempfile.TemporaryFile(dir=folder) as kept, registry.open("blobs/" + digest) as answer:
        for block in iter(lambda: answer.read(BLOCK), b""):
            seen.update(block)
            kept.write(block)
        if "sha256:" + seen.hexdigest() != digest:
            raise FetchError(f"the registry answers other content than {digest}")
        kept.seek(0)
        try:
            with tarfile.open(fileobj=kept, mode="r:*") as archive:
                return sum(_extract(archive, member, folder) for member in archive)
        except tarfile.ReadError:
            raise FetchError(f"{digest} is no tar, or compressed in a way that Python does not read") from None


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: str) -> int:
    """Lay one file down; links lead out of folders, and no model has one."""
    parts = [each for each in member.name.split("/") if each not in ("", ".")]
    if ".." in parts or not parts:
        if member.isdir() and not parts:
            return 0
        raise FetchError(f"the image has a file of the name {member.name}")
    path = os.path.join(folder, *parts)
    if member.isdir():
        os.makedirs(path, exist_ok=True)
        return 0
    if member.islnk():
        earlier = [each for each in member.linkname.split("/") if each not in ("", ".")]
        if ".." in earlier:
            raise FetchError(f"the image has a link to {member.linkname}")
        _make_room(path)
        os.link(os.path.join(folder, *earlier), path)
        return 1
    source: IO[bytes] | None = archive.extractfile(member) if member.isfile() else None
    if source is None:
        raise FetchError(f"{member.name} is neither a file nor a folder")
    _make_room(path)
    with source, open(path, "xb") as file:
        for block in iter(lambda: source.read(BLOCK), b""):
            file.write(block)
    os.chmod(path, 0o444)
    return 1


def _make_room(path: str) -> None:
    """Take away what an earlier run left: a pod may start its init containers again, and keeps its volumes then."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)


if __name__ == "__main__":
    try:
        found = fetch(sys.argv[1], sys.argv[2], dict(os.environ))
        sys.stdout.write(f"packager: {found} files of {sys.argv[1]}\n")
    except (FetchError, OSError, ValueError, KeyError) as error:
        sys.exit(f"packager: {sys.argv[1]} cannot be fetched: {error}")
