"""As much of a Hugging Face hub as its real client asks for when it reads a model."""

from __future__ import annotations

import hashlib
import json

from tests.integration.web_files import Page, WebFiles

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git_digest(content: bytes) -> str:
    """The digest that git has of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class HubServer(WebFiles):
    """A hub with one model; files in `large` are what LFS keeps, with a sha256 of their own."""

    def publish(self, repository: str, small: dict[str, bytes], large: dict[str, bytes], *, login: str = "") -> None:
        """Have a model, at the revisions `main` and `v1`."""
        siblings = []
        for name, content in (small | large).items():
            lfs = hashlib.sha256(content).hexdigest() if name in large else None
            entry = {"rfilename": name, "size": len(content), "blobId": git_digest(content)}
            siblings.append(entry | ({"lfs": {"sha256": lfs, "size": len(content), "pointerSize": 120}} if lfs else {}))
            etag = f'"{lfs or git_digest(content)}"'
            headers = {"ETag": etag, "X-Repo-Commit": COMMIT, "X-Linked-Etag": etag, "X-Linked-Size": str(len(content))}
            self.pages[f"/{repository}/resolve/{COMMIT}/{name}"] = Page(content, headers=headers, login=login)
        about = {"id": repository, "sha": COMMIT, "siblings": siblings, "tags": [], "library_name": "transformers"}
        body = json.dumps(about | {"pipeline_tag": "fill-mask", "cardData": {"license": "mit"}}).encode()
        for revision in ("main", "v1", COMMIT):
            page = Page(body, headers={"Content-Type": "application/json", "ETag": ""}, login=login)
            self.pages[f"/api/models/{repository}/revision/{revision}?blobs=true"] = page
        self.pages[f"/api/models/{repository}?blobs=true"] = page
