"""A file from the web: streamed, continued where it broke off, held against its digest or pinned at first sight.

Ranges, validators and conditions are those of RFC 9110 (sections 8.8, 13 and 14).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from packager.errors import ContextError, UsageError
from packager.http import is_local
from packager.proxies import host_of
from packager.reference import INSECURE_VARIABLE
from packager.registry.insecure import is_named
from packager.storage.reading import digest_file
from packager.workspace.sources.addresses import Address, parse_address
from packager.workspace.sources.download import DATA, Download, Kept, read_kept
from packager.workspace.sources.places import give, place
from packager.workspace.sources.values import Fetched, Options
from packager.workspace.sources.web_client import WebClient
from packager.workspace.values import Source


def fetch_web(
    uri: str,
    scratch: Path,
    options: Options,
    environ: Mapping[str, str] = os.environ,
    pause: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Return the file at an address.

    Args:
        uri: `https://…`; `http://` of this machine, or of a host that the user named as one without TLS.
        scratch: see `packager.workspace.sources.fetch`.
        options: its digest, where it is known.
        environ: the variables of this machine.
        pause: waits for so many seconds between two tries.

    Raises:
        UsageError: it is no address, or one without TLS.
        ContextError: there is no such file, it may not be read, is a page for people, or has another digest.
        TemporaryError: the server does not answer, or not with the whole file, again and again.
        RegistryError: the server's certificate is not trusted.
    """
    address = parse_address(uri, options.sha256)
    client = WebClient(address, lambda url: _may_be_asked(url, environ))
    if not _may_be_asked(address.url, environ):
        raise UsageError(
            f"{address.uri} is not safe on its way: http:// has no TLS",
            remedy=f"use https://, or give a host that is safe all the same in {INSECURE_VARIABLE}",
        )
    try:
        with place("https", address.uri) as folder:
            kept = _known(client, address, folder) or Download(client, address, folder, pause).run()
            target = scratch / kept.name
            give(folder / DATA, target)
    finally:
        client.close()
    return Fetched(path=target, source=Source(uri=address.uri, revision=f"sha256:{kept.sha256}"), kept=folder)


def _may_be_asked(url: str, environ: Mapping[str, str]) -> bool:
    if url.startswith("https:"):
        return True
    host = url.partition("://")[2].partition("/")[0].partition("?")[0]
    return is_local(host) or is_named(host, environ) or is_named(host_of(url), environ)


def _known(client: WebClient, address: Address, folder: Path) -> Kept | None:
    """Return what an earlier try has fetched whole, where it is what is wanted now; None where it must be fetched."""
    kept = read_kept(folder)
    if kept is None or not kept.sha256 or not (folder / DATA).is_file():
        return None
    if address.sha256 is not None:
        if address.sha256 != kept.sha256:
            return None
    elif not client.is_unchanged(kept.validators()):
        return None
    try:
        return kept if digest_file(folder / DATA).digest == kept.sha256 else None
    except ContextError:
        return None
