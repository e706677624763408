"""The limit of bodies before a worker that is not ours."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from packager.programs.image.bounded import BLOCK, Bounded
from packager.programs.image.settings import OURS, settings

LARGEST = BLOCK + 10


def post(body: bytes, **environ: str) -> tuple[str, bytes, io.BytesIO]:
    """What is answered: status, body, and what of the request was not read."""
    said: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        said.append(status)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [str(len(environ["wsgi.input"].read())).encode()]

    stream = io.BytesIO(body)
    answer = b"".join(Bounded(app, LARGEST)({"wsgi.input": stream, **environ}, start_response))
    return said[0], answer, stream


@pytest.mark.parametrize("size", [0, 1, LARGEST])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_within_the_limit_arrives_whole(size: int, chunked: bool) -> None:
    how = {"HTTP_TRANSFER_ENCODING": "chunked"} if chunked else {"CONTENT_LENGTH": str(size)}
    assert post(b"x" * size, **how)[:2] == ("200 OK", str(size).encode())


@pytest.mark.parametrize("more", [1, BLOCK * 3])
def test_a_body_above_the_limit_is_refused_and_not_held(more: int) -> None:
    for how in ({"HTTP_TRANSFER_ENCODING": "Chunked"}, {"CONTENT_LENGTH": str(LARGEST + more)}):
        status, answer, stream = post(b"x" * (LARGEST + more), **how)
        assert status.startswith("413")
        assert json.loads(answer) == {"message": f"The body of the request is larger than {LARGEST} bytes."}
        assert stream.tell() <= LARGEST + 1


def test_a_request_without_a_body_passes() -> None:
    assert post(b"")[:2] == ("200 OK", b"0")


def test_only_another_worker_gets_it(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACKAGER_AUTH", raising=False)
    monkeypatch.setenv("PACKAGER_MAX_BODY", "3")
    assert "post_worker_init" not in settings(str(tmp_path)) or settings(str(tmp_path))["worker_class"] != OURS
    (tmp_path / "gunicorn.conf.py").write_text(
        "worker_class = 'gthread'\ncalled = []\npost_worker_init = called.append\n"
    )
    found = settings(str(tmp_path))

    class Worker:
        wsgi: Any = object()

    worker = Worker()
    found["post_worker_init"](worker)
    assert isinstance(worker.wsgi, Bounded)
    assert found["called"] == [worker], "the user's own hook is called, too"
