"""Compressed streams: what other tools read back, the same bytes whatever the threads, and noise stored as it is."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import subprocess
import tarfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.errors import ContextError
from packager.oci.compression import (
    Compression,
    codec_for,
    codec_name,
    is_incompressible,
    sample_offsets,
)
from packager.oci.packing import PackedStream
from tests.unit.compression_sample import DIGESTS, digests

NOISE = random.Random(7).randbytes(2_500_000)
TEXT = b"".join(b"line %d of a source file\n" % number for number in range(150_000))
KINDS: tuple[Compression, ...] = ("gzip", "zstd", "none")


def in_blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def packed(data: bytes, compression: Compression, threads: int = 2) -> tuple[bytes, str | None]:
    codec, size = codec_for(compression)
    with PackedStream(in_blocks(data, size), codec, threads) as stream:
        return stream.read(), stream.diff_id


def unpacked(data: bytes, compression: Compression) -> bytes:
    if compression == "gzip":
        return gzip.decompress(data)
    if compression == "zstd":
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    return data


@pytest.mark.parametrize("compression", KINDS)
@pytest.mark.parametrize("data", [b"", b"x", TEXT, NOISE, TEXT + NOISE + TEXT], ids=len)
def test_what_goes_in_comes_out(compression: Compression, data: bytes) -> None:
    result, diff_id = packed(data, compression)
    assert unpacked(result, compression) == data
    expected = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert diff_id == (None if compression == "none" else expected)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=100_000), st.sampled_from(KINDS), st.integers(1, 300_000))
def test_any_bytes_survive_any_blocks(data: bytes, compression: Compression, size: int) -> None:
    codec, _ = codec_for(compression)
    with PackedStream(in_blocks(data, size), codec) as stream:
        assert unpacked(stream.read(), compression) == data


@pytest.mark.parametrize("compression", KINDS)
def test_threads_change_nothing(compression: Compression) -> None:
    data = TEXT + NOISE + TEXT
    assert packed(data, compression, 1) == packed(data, compression, 2) == packed(data, compression, 7)


@pytest.mark.parametrize(("compression", "tool"), [("gzip", "gzip"), ("zstd", "zstd")])
def test_the_usual_tools_accept_it(compression: Compression, tool: str) -> None:
    data = TEXT + NOISE
    try:
        done = subprocess.run([tool, "-dc"], input=packed(data, compression)[0], capture_output=True, check=True)
    except FileNotFoundError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no {tool} here")
    assert done.stdout == data


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_noise_is_stored_and_text_is_not(compression: Compression) -> None:
    assert len(packed(NOISE, compression)[0]) - len(NOISE) < 1000
    assert NOISE[:60_000] in packed(NOISE, compression)[0]
    assert len(packed(TEXT, compression)[0]) < len(TEXT) / 3
    mixed = packed(TEXT + NOISE, compression)[0]
    assert len(mixed) < len(TEXT + NOISE)


def members(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Header and content of each member of a gzip file."""
    while data:
        state = zlib.decompressobj(31)
        yield data[:10], state.decompress(data)
        assert state.eof
        data = state.unused_data


def test_a_gzip_is_a_member_for_each_block() -> None:
    data = TEXT + NOISE
    found = list(members(packed(data, "gzip")[0]))
    assert [content for _, content in found] == list(in_blocks(data, 1 << 20))
    # No name and no time; the fastest, of an unknown system (RFC 1952, 2.3).
    assert {header for header, _ in found} == {b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"}


def test_the_bytes_are_those_of_every_other_machine() -> None:
    assert digests() == DIGESTS


def test_ends_of_blocks_are_nothing_to_readers_of_tars(tmp_path: Path) -> None:
    """tarfile and GNU tar read several members (of which the second lies across what is a file) as one stream."""
    files = {"text": TEXT, "noise": NOISE}
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    blob = tmp_path / "layer"
    blob.write_bytes(packed(plain.getvalue(), "gzip")[0])
    with tarfile.open(blob, "r:gz") as archive:
        assert {entry.name: _content(archive, entry) for entry in archive} == files
    subprocess.run(["tar", "--extract", "--gzip", f"--file={blob}", f"--directory={tmp_path}"], check=True)
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(entry)
    assert stream is not None
    return stream.read()


@pytest.mark.parametrize("compression", KINDS)
def test_an_error_of_the_source_is_the_readers(compression: Compression) -> None:
    def broken() -> Iterator[bytes]:
        yield TEXT
        raise ContextError("changed")

    with PackedStream(broken(), codec_for(compression)[0]) as stream, pytest.raises(ContextError, match="changed"):
        stream.read()


@pytest.mark.parametrize("compression", KINDS)
def test_closing_early_ends_the_threads(compression: Compression) -> None:
    before = set(threading.enumerate())
    endless = iter(lambda: TEXT, b"")
    stream = PackedStream(endless, codec_for(compression)[0])
    assert stream.read(10)
    stream.close()
    assert not set(threading.enumerate()) - before


def test_not_all_is_held_at_once() -> None:
    given_out = 0

    def blocks() -> Iterator[bytes]:
        nonlocal given_out
        for _ in range(1000):
            given_out += 1
            yield NOISE[: 1 << 16]

    with PackedStream(blocks(), codec_for("gzip")[0], 2) as stream:
        stream.read(1)
        threading.Event().wait(0.3)
        assert given_out < 20


def test_names_of_codecs_tell_versions() -> None:
    assert len({codec_name(each) for each in KINDS}) == 3
    assert "deflate" in codec_name("gzip")
    assert "zstd" in codec_name("zstd")


def test_samples_lie_inside() -> None:
    assert sample_offsets(10, 4, 4) == [0, 4, 8]
    assert sample_offsets(100, 4, 4) == [0, 32, 64, 96]
    assert sample_offsets(0, 4, 4) == []


def test_weights_are_incompressible() -> None:
    assert is_incompressible(os.urandom(100_000))
    assert not is_incompressible(TEXT[:100_000])


def test_the_stream_is_an_ordinary_one() -> None:
    with PackedStream(in_blocks(TEXT, 1000), None) as stream:
        buffered = io.BufferedReader(stream)
        assert buffered.readable()
        assert buffered.read(10) == TEXT[:10]
        assert buffered.read() == TEXT[10:]
        assert stream.read(5) == b""
