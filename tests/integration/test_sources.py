"""Models from elsewhere, by real servers and the real clients of others."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from packager.errors import ContextError, PackagerError, TemporaryError, UsageError
from packager.progress import listening
from packager.storage.memory import cache_root
from packager.workspace.contents import scan_contents
from packager.workspace.facts import find_facts, settle
from packager.workspace.sources import Fetched, Options, fetch, forget
from packager.workspace.sources.web import fetch_web
from tests.integration import mlflow_setup
from tests.integration.conftest import missing
from tests.integration.hub_server import COMMIT, HubServer
from tests.integration.web_files import WebFiles
from tests.unit.heard import Heard

MODEL = random.Random(1).randbytes(1_500_000)
SHA256 = hashlib.sha256(MODEL).hexdigest()
HTML = b"<!DOCTYPE html><html><form>Please log in</form></html>"


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def web() -> Iterator[WebFiles]:
    with WebFiles() as server:
        yield server


class Try:
    """Fetches into a new folder each time, and waits for nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.waited: list[float] = []

    def __call__(self, uri: str, sha256: str | None = None) -> Fetched:
        self.count += 1
        scratch = self.folder / str(self.count)
        scratch.mkdir(parents=True)
        return fetch_web(uri, scratch, Options(sha256=sha256), pause=self.waited.append)


@pytest.fixture
def get(tmp_path: Path) -> Try:
    return Try(tmp_path / "tries")


def kept_bytes() -> bytes:
    """Everything that is kept on this machine of downloads."""
    return b"".join(each.read_bytes() for each in cache_root().rglob("*") if each.is_file() and each.name != "data")


# --- the web ----------------------------------------------------------------------------------------------------------


def test_a_file_is_pinned_at_first_sight(web: WebFiles, get: Try) -> None:
    found = get(web.put("/m/model%201.bin?v=2", MODEL))
    assert found.path.read_bytes() == MODEL
    assert found.path.name == "model 1.bin"
    assert found.source is not None
    assert (found.source.uri, found.source.revision) == (f"{web.url}/m/model%201.bin?v=2", f"sha256:{SHA256}")
    assert [each.path for each in scan_contents(found.path)] == ["model 1.bin"]
    forget(found)
    assert [each for each in cache_root().rglob("*") if each.is_file() and each.suffix != ".lock"] == []


def test_what_breaks_off_goes_on_from_there(web: WebFiles, get: Try) -> None:
    url = web.put("/model.bin", MODEL)
    web.cuts = [300_000, 700_000, 0]
    heard = Heard()
    with listening(heard):
        found = get(f"{url}#sha256={SHA256}")
    assert found.path.read_bytes() == MODEL
    ranges = [headers.get("range") for _, headers in web.asked]
    assert ranges[0] is None
    assert all(each is not None for each in ranges[1:])
    assert all(headers["if-range"].startswith('"') for _, headers in web.asked[1:])
    assert heard.told == [("downloading model.bin", None, len(MODEL))]


def test_a_second_try_goes_on_where_the_first_gave_up(web: WebFiles, get: Try) -> None:
    url = web.put("/model.bin", MODEL)
    web.cuts = [600_000, *[0] * 5]
    with pytest.raises(TemporaryError, match=r"broke off.*[1-9][0-9]+ bytes of it are kept"):
        get(url)
    assert len(get.waited) == 4
    web.cuts = []
    web.asked.clear()
    assert get(url).path.read_bytes() == MODEL
    assert int(web.asked[0][1]["range"][6:-1]) > 400_000


def test_a_file_that_changed_meanwhile_is_no_mixture(web: WebFiles, get: Try) -> None:
    url = web.put("/model.bin", MODEL)
    web.cuts = [600_000, *[0] * 5]
    with pytest.raises(TemporaryError):
        get(url)
    web.cuts = []
    web.put("/model.bin", MODEL[::-1])
    assert get(url).path.read_bytes() == MODEL[::-1]


def test_without_anything_to_tell_a_change_by_the_digest_does(web: WebFiles, get: Try) -> None:
    url = web.put("/model.bin", MODEL, headers={"ETag": ""})
    web.cuts = [600_000, *[0] * 5]
    with pytest.raises(TemporaryError):
        get(url, SHA256)
    web.cuts = []
    web.put("/model.bin", MODEL[::-1], headers={"ETag": ""})
    assert get(url, hashlib.sha256(MODEL[::-1]).hexdigest()).path.read_bytes() == MODEL[::-1]


def test_a_server_that_knows_no_ranges(web: WebFiles, get: Try) -> None:
    url = web.put("/model.bin", MODEL, ranges=False)
    web.cuts = [900_000]
    assert get(url).path.read_bytes() == MODEL


def test_what_is_here_is_not_sent_again(web: WebFiles, get: Try) -> None:
    url = web.put("/model.bin", MODEL)
    first = get(url)
    web.cuts = [0] * 9
    assert get(url).path.read_bytes() == MODEL
    assert web.asked[-1][1]["if-none-match"]
    asked = len(web.asked)
    assert get(url, SHA256).path.read_bytes() == MODEL
    assert len(web.asked) == asked, "a digest that is known needs no question"
    web.cuts = []
    assert first.kept is not None
    (first.kept / "data").unlink()
    (first.kept / "data").write_bytes(b"damaged")
    assert get(url).path.read_bytes() == MODEL
    web.put("/model.bin", b"newer")
    assert get(url).path.read_bytes() == b"newer"
    assert first.path.read_bytes() == MODEL, "what was given stays"


def test_another_digest_is_refused(web: WebFiles, get: Try) -> None:
    url = web.put("/model.bin", MODEL)
    with pytest.raises(ContextError, match=f"its sha256 is {SHA256}"):
        get(url, "0" * 64)
    assert list(cache_root().rglob("data")) == []
    assert not list((get.folder / "1").iterdir())


@pytest.mark.parametrize("headers", [{"Content-Type": "text/html"}, {}])
def test_a_page_for_people_is_no_model(web: WebFiles, get: Try, headers: dict[str, str]) -> None:
    web.put("/login", HTML, headers=headers)
    url = web.put("/model.bin", b"", status=302, headers={"Location": "/login"})
    with pytest.raises(ContextError, match=r"a page for people in place of model\.bin"):
        get(url)
    assert get(web.put("/page.html", HTML)).path.read_bytes() == HTML


@pytest.mark.parametrize(
    ("status", "kind", "problem"),
    [
        (401, ContextError, "does not let us read"),
        (403, ContextError, "does not let us read"),
        (404, ContextError, "has no"),
        (410, ContextError, "has no"),
        (418, ContextError, "answers 418"),
        (501, ContextError, "answers 501"),
        (500, TemporaryError, "answers 500"),
        (503, TemporaryError, "answers 503"),
        (429, TemporaryError, "answers 429"),
    ],
)
def test_what_answers_mean(web: WebFiles, get: Try, status: int, kind: type[PackagerError], problem: str) -> None:
    with pytest.raises(kind, match=problem):
        get(web.put("/model.bin", HTML, status=status))
    assert len(web.asked) == (5 if kind is TemporaryError else 1)


def test_what_is_no_file(web: WebFiles, get: Try) -> None:
    with pytest.raises(ContextError, match="is empty"):
        get(web.put("/empty.bin", b""))
    with pytest.raises(ContextError, match="how the file is called"):
        get(web.put("/", MODEL))
    with pytest.raises(ContextError, match="as gzip"):
        get(web.put("/model.bin", MODEL, headers={"Content-Encoding": "gzip"}))
    disposed = {"Content-Disposition": 'attachment; filename="../named.bin"'}
    assert get(web.put("/", MODEL, headers=disposed)).path.name == "named.bin"


def test_credentials_go_to_one_host_and_into_nothing(web: WebFiles, get: Try, tmp_path: Path) -> None:
    login = "Basic YWxpY2U6czNjcmV0"  # alice:s3cret
    with WebFiles() as other:
        away = other.put("/real.bin", MODEL).replace("127.0.0.1", "localhost")
        web.put("/model.bin", b"", status=302, headers={"Location": f"{away}?X-Amz-Signature=h1dden"}, login=login)
        other.put("/real.bin?X-Amz-Signature=h1dden", MODEL)
        named = f"{web.url}/model.bin".replace("//", "//alice:s3cret@")
        found = get(named)
        assert found.path.read_bytes() == MODEL
        assert [headers.get("authorization") for _, headers in web.asked] == [login]
        assert [headers.get("authorization") for _, headers in other.asked] == [None]
    assert found.source is not None
    assert found.source.uri == f"{web.url}/model.bin"
    wrong = named.replace("s3cret", "wr0ng")
    with pytest.raises(ContextError, match="though we said who we are") as caught:
        get(wrong)
    for secret in (b"s3cret", b"wr0ng", b"h1dden", login.encode()):
        assert secret not in kept_bytes()
        assert secret.decode() not in str(caught.value)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login alice password s3cret\n")
    (tmp_path / "netrc").chmod(0o600)
    web.put("/model.bin", MODEL, login=login)
    assert get(f"{web.url}/model.bin").path.read_bytes() == MODEL


def test_nothing_goes_to_a_place_without_tls(web: WebFiles, get: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    url = web.put("/model.bin", b"", status=302, headers={"Location": "http://files.example.com/?sig=h1dden"})
    with pytest.raises(ContextError, match="a place without TLS") as caught:
        get(url)
    assert "h1dden" not in str(caught.value)
    web.put("/model.bin", b"", status=302, headers={"Location": "/model.bin"})
    with pytest.raises(ContextError, match="without end"):
        get(url)
    with pytest.raises(UsageError, match="not safe"):
        get("http://files.invalid/m.bin")
    monkeypatch.setenv("PACKAGER_INSECURE_REGISTRY", "files.invalid")
    with pytest.raises(TemporaryError, match=r"files\.invalid does not answer"):
        get("http://files.invalid/m.bin")


_FETCH = """
import sys
from pathlib import Path
from packager.workspace.sources import fetch
print(fetch(sys.argv[1], Path(sys.argv[2])).path.stat().st_size, flush=True)
"""


def start(uri: str, scratch: Path) -> subprocess.Popen[bytes]:
    scratch.mkdir(parents=True)
    return subprocess.Popen([sys.executable, "-c", _FETCH, uri, scratch], stdout=subprocess.PIPE)


def wait_for_bytes(count: int) -> None:
    end = time.monotonic() + 60
    while sum(each.stat().st_size for each in cache_root().rglob("data")) < count:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_killed_download_leaves_what_another_goes_on_with(web: WebFiles, get: Try, tmp_path: Path) -> None:
    url = web.put("/model.bin", MODEL)
    web.held, web.cuts = threading.Event(), [800_000]
    killed = start(url, tmp_path / "killed")
    wait_for_bytes(500_000)
    # The second waits for the first, and goes on when that is gone.
    second = start(url, tmp_path / "second")
    time.sleep(1)
    assert second.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert second.communicate(timeout=60)[0].split() == [str(len(MODEL)).encode()]
    web.held.set()
    assert (tmp_path / "second/model.bin").read_bytes() == MODEL
    assert not list((tmp_path / "killed").iterdir())
    assert len(web.asked) == 2
    assert int(web.asked[1][1]["range"][6:-1]) >= 500_000
    killed.stdout.close()  # type: ignore[union-attr]


# --- a hub ------------------------------------------------------------------------------------------------------------

SMALL = {"config.json": b'{"model_type": "tiny"}', "onnx/README.md": b"# tiny\n"}
LARGE = {"model.safetensors": MODEL}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A hub of ours, for the real client: it is told of it by HF_ENDPOINT."""
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.publish("org/tiny", SMALL, LARGE, login="Bearer hf_right")
        yield server


def test_a_model_of_a_hub_is_pinned_to_a_commit(hub: HubServer, tmp_path: Path) -> None:
    heard = Heard()
    with listening(heard):
        found = fetch("hf://org/tiny@v1", tmp_path / "s")
    files = {str(each.relative_to(found.path)): each.read_bytes() for each in found.path.rglob("*") if each.is_file()}
    assert files == SMALL | LARGE
    assert found.path == tmp_path / "s/tiny"
    assert found.source is not None
    assert (found.source.uri, found.source.revision) == ("hf://org/tiny@v1", COMMIT)
    assert found.details == {"hub": {"library": "transformers", "task": "fill-mask", "license": "mit"}}
    assert ("downloading org/tiny", sum(map(len, files.values())), sum(map(len, files.values()))) in heard.told
    asked = len(hub.asked)
    again = fetch("hf://org/tiny", tmp_path / "again", Options(ignore=("*.safetensors",)))
    assert sorted(each.name for each in again.path.rglob("*")) == ["README.md", "config.json", "onnx"]
    assert len(hub.asked) == asked + 1, "what is here is not sent again"
    assert b"hf_right" not in kept_bytes()


@pytest.mark.parametrize(("path", "files"), [("config.json", ["config.json"]), ("onnx", ["onnx", "onnx/README.md"])])
def test_a_part_of_a_model_of_a_hub(hub: HubServer, tmp_path: Path, path: str, files: list[str]) -> None:
    fetch(f"hf://org/tiny@main/{path}", tmp_path / "s")
    assert sorted(str(each.relative_to(tmp_path / "s")) for each in (tmp_path / "s").rglob("*")) == files


@pytest.mark.parametrize(
    ("uri", "problem"),
    [("hf://org/none", "the hub has no org/none"), ("hf://org/tiny@nope", "org/tiny has no revision nope")],
)
def test_what_a_hub_does_not_have(hub: HubServer, tmp_path: Path, uri: str, problem: str) -> None:
    with pytest.raises(ContextError, match=problem):
        fetch(uri, tmp_path / "s")


def test_a_token_that_is_no_more_good(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(ContextError) as caught:
        fetch("hf://org/tiny", tmp_path / "s")
    assert "hf auth login" in str(caught.value)
    assert "hf_expired" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_files_that_are_not_what_the_commit_says(hub: HubServer, tmp_path: Path, name: str) -> None:
    path = f"/org/tiny/resolve/{COMMIT}/{name}"
    page = hub.pages[path]
    hub.pages[path] = page._replace(body=bytes([page.body[0] ^ 1]) + page.body[1:])
    with pytest.raises(ContextError, match=f"{name} of org/tiny is not what commit {COMMIT[:12]} says"):
        fetch("hf://org/tiny", tmp_path / "s")
    assert not (tmp_path / "s").exists()
    hub.pages[path] = page
    assert (fetch("hf://org/tiny", tmp_path / "s").path / name).read_bytes() == page.body


def test_a_hub_that_is_gone(hub: HubServer, tmp_path: Path) -> None:
    hub.pages = {path: page._replace(status=503) for path, page in hub.pages.items()}
    with pytest.raises(TemporaryError, match="the hub answers 503"):
        fetch("hf://org/tiny", tmp_path / "s")


# --- MLflow -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mlflow_server(index: None) -> Iterator[mlflow_setup.Logged]:
    """A real server with a model that MLflow logged; its environment is kept from one run of the tests to the next."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "packager-engine"
    try:
        environment = mlflow_setup.environment(caches)
    except subprocess.SubprocessError:
        missing("the package index does not have mlflow")
    with mlflow_setup.serving(environment) as logged:
        yield logged


@pytest.fixture
def logged(mlflow_server: mlflow_setup.Logged, monkeypatch: pytest.MonkeyPatch) -> mlflow_setup.Logged:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
    return mlflow_server


@pytest.mark.parametrize("uri", ["mlflow:models:/line/1", "mlflow:models:/line@champion"])
def test_a_registered_model_of_mlflow(logged: mlflow_setup.Logged, tmp_path: Path, uri: str) -> None:
    found = fetch(uri, tmp_path / "s")
    assert found.path == tmp_path / "s/line"
    assert found.source is not None
    assert (found.source.uri, found.source.revision) == (uri, "1")
    assert (found.run_id, found.description) == (logged.run, "A line.")
    assert found.details["registered"] == {"name": "line", "version": "1", "tags": {"area": "tests"}}
    assert {"python_function", "sklearn"} <= set(found.details["flavors"])
    assert [each["name"] for each in found.details["signature"]["inputs"]] == ["a", "b"]
    (sample,) = found.samples
    assert set(json.loads(sample.origin.read_bytes())) == {"dataframe_split"}
    facts = find_facts(found.path)
    assert settle(facts, None, None)[0] == "mlflow"
    assert settle(facts, "ScikitLearn", None)[0] == "ScikitLearn"
    assert "sklearn" not in sys.modules, "nothing of the model is imported"


def test_what_a_run_of_mlflow_has(logged: mlflow_setup.Logged, tmp_path: Path) -> None:
    found = fetch(f"mlflow:runs:/{logged.run}/model", tmp_path / "model")
    assert (found.path / "MLmodel").is_file()
    assert (found.path.name, found.run_id) == ("model", logged.run)
    plain = fetch(f"runs:/{logged.run}/notes/plain.txt", tmp_path / "plain")
    assert plain.path.read_text() == "plain"


def test_what_mlflow_does_not_have(logged: mlflow_setup.Logged, tmp_path: Path) -> None:
    for uri in (
        "models:/line/9",
        "models:/none/1",
        "models:/line@none",
        "runs:/0123/model",
        f"runs:/{logged.run}/none",
    ):
        with pytest.raises(ContextError, match="MLflow has no"):
            fetch(f"mlflow:{uri}", tmp_path / "s")


def test_a_server_of_mlflow_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://alice:s3cret@127.0.0.1:9")
    with pytest.raises(TemporaryError, match=r"server http://127\.0\.0\.1:9 does not answer") as caught:
        fetch("mlflow:models:/line/1", tmp_path / "s")
    assert "s3cret" not in str(caught.value)


def test_a_server_of_mlflow_that_wants_a_login(web: WebFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", web.url)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "alice")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    web.put("/api/2.0/mlflow/model-versions/get?name=line&version=1", b"who is s3cret?", status=401)
    with pytest.raises(ContextError, match="does not let us read mlflow:models:/line/1") as caught:
        fetch("mlflow:models:/line/1", tmp_path / "s")
    assert "s3cret" not in str(caught.value)
