"""A content store for tests: a folder, with no memory and no threads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO


class FolderContent:
    """Implements `content.Content`; counts what is put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.puts = 0

    def has(self, digest: str, size: int | None = None) -> bool:
        path = self.path(digest)
        return path.exists() and size in (None, path.stat().st_size)

    def path(self, digest: str) -> Path:
        return self.folder / digest.removeprefix("sha256:")

    def put(self, stream: BinaryIO, expected: str | None = None) -> tuple[str, int]:
        self.puts += 1
        data = stream.read()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert expected in (None, digest)
        self.folder.mkdir(exist_ok=True)
        self.path(digest).write_bytes(data)
        return digest, len(data)
