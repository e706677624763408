"""Keys of the server in the image."""

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from packager.programs.image import keys as k

ONE, TWO, THREE = "a" * 32, "b" * 32, "c" * 32


class App:
    def __init__(self) -> None:
        self.asked = list[dict[str, Any]]()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.asked.append(environ)
        start_response("200 OK", [])
        return [b"scored"]


def ask(
    guard: k.Guard, header: str | None = None, path: str = "/score", method: str = "POST"
) -> tuple[str, Any, bytes]:
    told = list[Any]()
    environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method, "CONTENT_LENGTH": "2"}
    environ["wsgi.input"] = io.BytesIO(b"{}")
    if header is not None:
        environ["HTTP_AUTHORIZATION"] = header
    body = b"".join(guard(environ, lambda status, headers: told.extend((status, dict(headers)))))
    return told[0], told[1], body


def guard(environ: dict[str, str]) -> tuple[k.Guard, App]:
    app = App()
    return k.Guard(app, k.Keys(environ)), app


@pytest.fixture
def given() -> tuple[k.Guard, App]:
    return guard({"PACKAGER_PRIMARY_KEY": ONE, "PACKAGER_SECONDARY_KEY": TWO})


@pytest.mark.parametrize("header", [f"Bearer {ONE}", f"Bearer {TWO}", f"bearer  {TWO} "])
def test_either_key_lets_in_and_the_script_does_not_see_it(given: tuple[k.Guard, App], header: str) -> None:
    assert ask(given[0], header)[0] == "200 OK"
    assert "HTTP_AUTHORIZATION" not in given[1].asked[0]


def test_a_token_lets_in_until_it_ends_or_its_key_is_another(tmp_path: Path) -> None:
    (tmp_path / "primary").write_text(ONE)
    (tmp_path / "secondary").write_text(TWO)
    times = [1000.0]
    keys = k.Keys({"PACKAGER_KEYS_FILE": str(tmp_path)}, now=lambda: times[0])
    tokens = [k.make_token(each, 1100) for each in (ONE, TWO, THREE)]
    assert [keys.allow(f"Bearer {each}") for each in tokens] == [True, True, False]
    name, end, seal = tokens[0].split(".")
    for forged in (
        f"{name}.9999.{seal}",
        f"{name}.{end}.{seal[:-1]}",
        f"{tokens[0]}x",
        f"{name}.{end}.",
        f"x{tokens[0]}",
    ):
        assert not keys.allow(f"Bearer {forged}"), forged
    assert not keys.allow(f"Basic {tokens[0]}")
    times[0] = 1100.0
    assert not keys.allow(f"Bearer {tokens[0]}"), "it has ended"
    times[0] = 1000.0
    (tmp_path / "primary").write_text(THREE)
    assert [keys.allow(f"Bearer {each}") for each in tokens] == [False, True, True]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", f"Basic {ONE}", ONE, f"Bearer {ONE}x", "Bearer \xff", "Bearer €"]
)
@pytest.mark.parametrize("path", ["/score", "//score", "/swagger.json", "//", "", "/x"])
def test_every_other_request_gets_one_same_answer(given: tuple[k.Guard, App], header: str | None, path: str) -> None:
    status, headers, body = ask(given[0], header, path)
    assert (status, headers["WWW-Authenticate"]) == ("401 Unauthorized", "Bearer")
    assert body == b'{"message": "The request needs a key."}'
    assert not given[1].asked


def test_probes_and_preflights_need_no_key_and_reach_no_script(given: tuple[k.Guard, App]) -> None:
    assert ask(given[0], path="/", method="GET")[0] == "200 OK"
    assert ask(given[0], method="OPTIONS")[0] == "200 OK"
    assert [each["PATH_INFO"] for each in given[1].asked] == ["/", "/"]
    ask(given[0], f"Bearer {ONE}", method="OPTIONS")
    assert given[1].asked[2]["PATH_INFO"] == "/score"


def test_a_mounted_folder_goes_before_the_environment_and_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "primary").write_text(f"{ONE}\n")
    (tmp_path / "secondary").write_text(TWO)
    there, _ = guard({"PACKAGER_KEYS_FILE": str(tmp_path), "PACKAGER_PRIMARY_KEY": THREE})
    assert [ask(there, f"Bearer {each}")[0][:3] for each in (ONE, TWO, THREE)] == ["200", "200", "401"]
    (tmp_path / "primary").unlink()
    (tmp_path / "primary").write_text(THREE)
    assert [ask(there, f"Bearer {each}")[0][:3] for each in (ONE, TWO, THREE)] == ["401", "200", "200"]


def emptied(folder: Path) -> None:
    (folder / "primary").write_text("")


def invalid(folder: Path) -> None:
    (folder / "primary").write_text("short")


def removed(folder: Path) -> None:
    (folder / "primary").unlink()


def removed_with_its_folder(folder: Path) -> None:
    (folder / "primary").unlink()
    folder.rmdir()


def a_pipe(folder: Path) -> None:
    (folder / "primary").unlink()
    os.mkfifo(folder / "primary")


def a_folder(folder: Path) -> None:
    (folder / "primary").unlink()
    (folder / "primary").mkdir()


@pytest.mark.parametrize("change", [emptied, invalid, removed, removed_with_its_folder, a_pipe, a_folder])
def test_keys_that_are_taken_away_let_in_no_longer_and_it_is_said(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    folder, now, said = tmp_path / "keys", [100.0], list[str]()
    folder.mkdir()
    (folder / "primary").write_text(ONE)
    there = k.Guard(App(), k.Keys({"PACKAGER_KEYS_FILE": str(folder)}, said.append, lambda: now[0]))
    change(folder)
    assert ask(there, f"Bearer {ONE}")[0] == "200 OK", "it may be half written"
    now[0] += k.HALF_WRITTEN
    for _ in range(3):
        assert ask(there, f"Bearer {ONE}")[0].startswith("401")
    assert [each.partition(",")[0] for each in said] == ["packager: the keys before are revoked"]
    assert ONE not in said[0]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "primary").write_text(TWO)
    assert [ask(there, f"Bearer {each}")[0][:3] for each in (ONE, TWO)] == ["401", "200"]
    assert len(said) == 2


def test_a_guard_around_a_guard_asks_once() -> None:
    app = App()
    keys = k.Keys({"PACKAGER_PRIMARY_KEY": ONE})
    there = k.Guard(k.Guard(app, keys), keys)
    assert [ask(there, header)[0][:3] for header in (f"Bearer {ONE}", f"Bearer {TWO}", None)] == ["200", "401", "401"]
    assert len(app.asked) == 1
    # Another store's word counts for nothing.
    assert ask(k.Guard(there, k.Keys({"PACKAGER_PRIMARY_KEY": TWO})), f"Bearer {TWO}")[0].startswith("401")


class Application:
    """As gunicorn's: `wsgi` loads once."""

    def __init__(self) -> None:
        self.callable: Any = None

    def wsgi(self) -> Any:
        if self.callable is None:
            self.callable = App()
        return self.callable


def test_the_application_itself_is_guarded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKAGER_PRIMARY_KEY", ONE)
    wsgi = k.guarded(Application.wsgi, k.Keys(os.environ))
    application = Application()
    there = wsgi(application)
    assert wsgi(application) is there
    assert [ask(there, header)[0][:3] for header in (f"Bearer {ONE}", None)] == ["200", "401"]
    assert "PACKAGER_PRIMARY_KEY" not in os.environ, "scripts do not see it"


def test_a_mounted_file_has_a_key_a_line(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# of today\n{ONE}\n\n{TWO}\n")
    there, _ = guard({"PACKAGER_KEYS_FILE": str(tmp_path / "keys")})
    assert [ask(there, f"Bearer {each}")[0][:3] for each in (ONE, TWO, THREE)] == ["200", "200", "401"]


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({}, "neither"),
        ({"PACKAGER_KEYS_FILE": "/nowhere"}, "no such file"),
        ({"PACKAGER_PRIMARY_KEY": "too-short"}, "cannot be a key"),
        ({"PACKAGER_PRIMARY_KEY": "with spaces " * 4}, "cannot be a key"),
        ({"PACKAGER_PRIMARY_KEY": f"{ONE}\n{TWO}\n{THREE}"}, "more than two"),
    ],
)
def test_without_keys_the_server_ends_and_says_why_without_them(
    environ: dict[str, str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        k.load(environ)
    said = capsys.readouterr().err
    assert ended.value.code == k.NO_KEYS
    assert why in said
    assert not any(value in said for name, value in environ.items() if name != k.KEYS_FILE)


def test_auth_is_never_misunderstood_as_none() -> None:
    assert k.wanted({"PACKAGER_AUTH": "key"})
    assert not k.wanted({})
    with pytest.raises(SystemExit):
        k.wanted({"PACKAGER_AUTH": "Key"})
