"""The indexes of all names in one document, so that the first list on a machine is no request for each name.

Whoever had to ask for many of them writes it, if allowed to, for those after; what it lacks is asked for as ever.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from io import BytesIO

import msgspec

from packager.decoding import decode_json
from packager.errors import ContextError, RegistryError, TemporaryError
from packager.oci.values import MANIFEST, Descriptor, digest_of
from packager.workspace.artifact import read_json
from packager.workspace.documents import json_text, note
from packager.workspace.remote import OWN, Remote
from packager.workspace.tags import WorkspaceTags, bundle_tag
from packager.workspace.values import Kind

#: Indexes that are asked for one by one without a thought.
MANY = 50
#: Bytes that a bundle unpacks to at most, and that it has packed.
_UNPACKED, _PACKED = 512 << 20, 64 << 20

_MEDIA_TYPE = "application/vnd.packager.workspace.indexes.v1.zlib"


class _Bundle(msgspec.Struct, frozen=True):
    layers: tuple[Descriptor, ...]


def read_bundle(remote: Remote, kind: Kind, tags: WorkspaceTags, wanted: Collection[str]) -> dict[str, bytes]:
    """Return the JSON of indexes by their tags, as far as a bundle has those that are wanted; it is of help alone."""
    found = tags.bundles.get(kind)
    if not found:
        return {}
    with suppress(RegistryError, ContextError, ValueError, zlib.error):
        client = remote.client(OWN)
        manifest = client.find_manifest(found[-1][1])
        if manifest is None:
            return {}
        blob = read_json(manifest.data, _Bundle, found[-1][1]).layers[0]
        if blob.size > _PACKED:
            return {}
        client.download(blob, remote.content)
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(remote.content.path(blob.digest).read_bytes(), _UNPACKED)
        indexes = decode_json(data, dict[str, msgspec.Raw])
        return {tag: bytes(indexes[tag]) for tag in wanted if tag in indexes}
    return {}


def write_bundle(remote: Remote, kind: Kind, tags: WorkspaceTags, indexes: Mapping[str, bytes]) -> None:
    """Write a bundle of indexes: tag → JSON. Who may not, does not."""
    with suppress(RegistryError, TemporaryError, ContextError):
        data = zlib.compress(msgspec.json.encode({tag: msgspec.Raw(each) for tag, each in sorted(indexes.items())}), 6)
        blob = Descriptor(media_type=_MEDIA_TYPE, digest=digest_of(data), size=len(data))
        if blob.size > _PACKED:
            return
        client = remote.client(OWN, push=True)
        if not client.has_blob(blob):
            remote.content.put(BytesIO(data), blob.digest)
            client.upload(blob, remote.content.path(blob.digest))
        before = tags.bundles.get(kind, ())
        tag = bundle_tag(kind, before[-1][0] + 1 if before else 1, secrets.token_hex(4))
        document = decode_json(note("indexes", json_text(len(indexes)), tag), dict[str, object])
        client.put_manifest(tag, MANIFEST, msgspec.json.encode({**document, "layers": [blob]}, order="sorted"))
        remote.remove(OWN, [each for _, each in before])
