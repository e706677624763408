"""Compression of layers: in blocks that do not depend on each other, on several threads, the same bytes everywhere.

Each block is compressed by itself. So blocks may be worked on at once, the bytes depend neither on how many threads
there are nor on how the input arrives, and a block that compression would not make smaller (weights, images, archives)
is stored as it is, found out by a sample of it. This costs 0.2 % (gzip) to 2 % (zstd) of size.

- gzip: one member a block (RFC 1952, 2.2: members may be concatenated; eStargz has layers of the same form), without
  name and time, by libdeflate's level 1.
- zstd: one frame a block (RFC 8878, 3.1: frames may be concatenated).

Neither library lets the processor decide what it finds, so for one version of it the bytes are the same on every
machine; `tests/unit/test_oci_compression.py` holds digests that say so.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Literal

from packager.oci.tar import BLOCK
from packager.oci.values import LAYER, LAYER_GZIP, LAYER_ZSTD

Compression = Literal["gzip", "zstd", "none"]
Bytes = bytes | bytearray | memoryview
#: Compresses a block by itself, or stores it where compression is not worth it; used by several threads at once.
Codec = Callable[[Bytes], Bytes]

MEDIA_TYPES: dict[str, str] = {"gzip": LAYER_GZIP, "zstd": LAYER_ZSTD, "none": LAYER}

#: Count up when the bytes of a compressed layer change for the same archive and library.
_GZIP_VERSION, _ZSTD_VERSION = 2, 2

#: A block is stored where its sample keeps more than this: float weights keep 0.92 to 1, and are not worth the time.
WORTH = 0.9

_GZIP_LEVEL, _ZSTD_LEVEL = 1, 4
#: Bytes of a block, and of the window in it, as a power of two: what every decoder has to allow (RFC 8878, 3.1.1.1.2).
_ZSTD_WINDOW = 23
_SAMPLE = 4096


def codec_for(compression: Compression) -> tuple[Codec | None, int]:
    """Return what compresses, None for `none`, and the bytes of a block."""
    if compression == "gzip":
        return _gzip, BLOCK
    if compression == "zstd":
        return _zstd, 1 << _ZSTD_WINDOW
    return None, BLOCK


def codec_name(compression: Compression) -> str:
    """Return what the compressed bytes depend on besides the input: the library and its version."""
    if compression == "gzip":
        import deflate

        return f"gzip-{_GZIP_VERSION} deflate {deflate.__version__} level {_GZIP_LEVEL}"
    if compression == "zstd":
        import zstandard

        version = ".".join(map(str, zstandard.ZSTD_VERSION))
        return f"zstd-{_ZSTD_VERSION} {version} level {_ZSTD_LEVEL}"
    return "none"


def is_incompressible(sample: bytes) -> bool:
    """Whether compressing data like a sample is not worth it."""
    import deflate

    return len(deflate.deflate_compress(sample, _GZIP_LEVEL)) > WORTH * len(sample)


def sample_offsets(size: int, count: int, length: int) -> list[int]:
    """Return `count` offsets for samples of `length` bytes, spread evenly over `size` bytes."""
    if size <= count * length:
        return list(range(0, size, length))
    return [number * (size - length) // (count - 1) for number in range(count)]


def _sample(block: Bytes) -> bytes:
    view = memoryview(block)
    return b"".join(view[start : start + _SAMPLE] for start in sample_offsets(len(view), 4, _SAMPLE))


def _gzip(block: Bytes) -> Bytes:
    import deflate

    # The header has neither name nor time. Level 0 is a member, too, of stored blocks.
    return deflate.gzip_compress(block, 0 if is_incompressible(_sample(block)) else _GZIP_LEVEL)


_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_STORED_MAX = 128 << 10


def _zstd(block: Bytes) -> Bytes:
    import zstandard

    sample = _sample(block)
    if len(zstandard.ZstdCompressor(level=1).compress(sample)) > WORTH * len(sample):
        return _zstd_stored(memoryview(block))
    parameters = zstandard.ZstdCompressionParameters.from_level(_ZSTD_LEVEL, window_log=_ZSTD_WINDOW)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(block)


def _zstd_stored(block: memoryview) -> bytes:
    # Single segment, content size in four bytes, no checksum, no dictionary (RFC 8878, 3.1.1.1).
    parts: list[Bytes] = [_ZSTD_MAGIC + b"\xa0" + struct.pack("<I", len(block))]
    for start in range(0, len(block), _ZSTD_STORED_MAX):
        part = block[start : start + _ZSTD_STORED_MAX]
        last = start + len(part) == len(block)
        # Bit 0: the last block; bits 1 and 2: its type, 0 for raw; then its size (RFC 8878, 3.1.1.2).
        parts += (struct.pack("<I", len(part) << 3 | last)[:3], part)
    return b"".join(parts)


def workers() -> int:
    """Return how many threads compress: as many as this process has processors, at most four.

    Each holds blocks in memory, and from four on, the hash over all of them is slower than they are.
    """
    return max(1, min(4, os.cpu_count() or 1))
