"""A sample of layers' bytes and the digests of what it is compressed to; also a program, for other machines to run.

It takes nothing but packager's compression, so that an emulated machine needs three wheels to run it.
"""

from __future__ import annotations

import hashlib
import random

from packager.oci.compression import Compression, codec_for

#: Of `sample()`, compressed. They change with the libraries alone, and then every layer's digest does: say so in
#: CHANGELOG.md. They are the same for every processor, operating system and Python.
DIGESTS: dict[Compression, str] = {
    "gzip": "613be36dd637768486b437bf8c6efb8bdec41303509973ca76ab8635b58d5ec7",
    "zstd": "e38abeb7026424f050dbb50ebffb66882c7edbdcc056394d118a8ef9313a2928",
}


def sample() -> bytes:
    """Return 9 MB, as layers have them: source text, tables of numbers, noise and zeros, across the ends of blocks."""
    source = random.Random(13)
    words = [bytes(source.choices(b"abcdefghijklmnopqrstuvwxyz_", k=source.randint(2, 12))) for _ in range(2_000)]
    text = b" ".join(source.choices(words, k=300_000))
    numbers = b"".join(source.getrandbits(12).to_bytes(4, "little") for _ in range(200_000))
    return text + numbers + source.randbytes(1_500_000) + bytes(600_000) + 40 * text[:100_000]


def digests() -> dict[Compression, str]:
    """Return the digests of the sample here."""
    data, found = sample(), dict[Compression, str]()
    for compression in DIGESTS:
        codec, size = codec_for(compression)
        assert codec is not None
        state = hashlib.sha256()
        for start in range(0, len(data), size):
            state.update(codec(memoryview(data)[start : start + size]))
        found[compression] = state.hexdigest()
    return found


if __name__ == "__main__":
    for compression, digest in digests().items():
        print(compression, digest)
