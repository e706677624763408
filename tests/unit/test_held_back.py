"""Newer releases that a solve did not take: what uv is asked, and what is made of its answers."""

from __future__ import annotations

from pathlib import Path

from packager.environments.child_processes import Ended
from packager.environments.lock import LockedPackage, LockRequest
from packager.environments.solve.held_back import held_back
from packager.environments.solve.pip import Upgrade, UvSolver
from tests.unit.test_pip import AMD, fake_uv, program
from tests.unit.test_pylock import pylock, wheels

__all__ = ["fake_uv"]

SERVER = "azureml-inference-server-http"
NOTHING = (
    "error: No solution found\n  cause: Because only {0}<={1} is available and you require {0}>{1}, we can conclude"
)
NO_WHEEL = (
    "error: No solution found\n  cause: Because {0}>={2} has no usable wheels and only the following versions of {0} "
    "are available:\n         {0}<={1}\n         {0}>={2}\n      we can conclude that {0}>{1} cannot be used"
)


def refusal(text: str) -> Ended:
    return Ended(code=1, output="", errors=text)


class Index:
    """Answers as uv does, for one package: by Python alone, and with all the others."""

    def __init__(self, alone: dict[str, Ended], together: Ended | None = None) -> None:
        self.alone, self.together = alone, together
        self.asked: list[tuple[list[str], str, bool]] = []

    def __call__(self, lines: list[str], python: str, together: bool) -> Ended:
        self.asked.append((lines, python, together))
        if together:
            assert self.together is not None
            return self.together
        return self.alone.get(python, refusal("Because nothing"))


def notes(name: str, version: str, index: Index, *lines: str, python: str = "3.13") -> list[str]:
    package = LockedPackage(name=name, version=version, digests=())
    return list(held_back([package], lines or (name,), [name], python, index))


def test_what_is_the_newest_needs_no_word() -> None:
    assert notes("numpy", "2.5", Index({"3.13": refusal(NOTHING.format("numpy", "2.5"))})) == []


def test_a_requirement_of_the_users_on_another_package_is_named() -> None:
    index = Index(
        {"3.13": Ended(code=0, output=f"{SERVER}==1.5.1\n", errors="")},
        refusal(
            f"error: No solution found\n  cause: Because {SERVER}>=1.1.0 depends on pydantic>=2 and\n you require "
            f"pydantic<2, we can conclude that\n {SERVER}>=1.1.0 cannot be used. And you require {SERVER}>1.0.0,"
        ),
    )
    (note,) = notes(SERVER, "1.0.0", index, "pydantic<2", SERVER)
    assert note == (f"{SERVER} 1.0.0 is locked, and there is 1.5.1: `pydantic<2` keeps it out; loosen that to get it")
    assert index.asked == [
        ([SERVER, f"{SERVER}>1.0.0"], "3.13", False),
        (["pydantic<2", SERVER, f"{SERVER}>1.0.0"], "3.13", True),
    ]


def test_an_sdist_in_the_dependencies_is_named() -> None:
    index = Index(
        {"3.13": Ended(code=0, output="azureml-defaults==1.62.0\n", errors="")},
        refusal("cause: Because fusepy==3.0.1 has no usable wheels and only …"),
    )
    (note,) = notes("azureml-defaults", "1.0.45", index)
    assert "there is 1.62.0: it needs fusepy 3.0.1, which has no wheel (`build_from_source: [fusepy]`)" in note


def test_any_other_cause_is_in_uvs_words_without_passwords() -> None:
    said = "Because a>1 depends on b>2 and c<1 depends on b<2 of https://me:secret@host/simple " + "x" * 500
    index = Index({"3.13": Ended(code=0, output="a==3\n", errors="")}, refusal(f"cause: {said}"))
    (note,) = notes("a", "1", index)
    assert "because a>1 depends on b>2 and c<1 depends on b<2" in note
    assert "secret" not in note
    assert len(note) < 320


def test_a_newer_python_may_have_it() -> None:
    index = Index(
        {
            "3.11": refusal(NO_WHEEL.format("numpy", "2.4.6", "2.5.0rc1")),
            "3.13": Ended(code=0, output="numpy==2.5.5\n", errors=""),
        }
    )
    (note,) = notes("numpy", "2.4.6", index, python="3.11")
    assert "there is 2.5.5: it has wheels for Python 3.13, and none for 3.11" in note


def test_a_release_without_any_wheel_is_told() -> None:
    (note,) = notes("docopt", "0.5", Index({"3.13": refusal(NO_WHEEL.format("docopt", "0.5", "0.6.0"))}))
    assert "newer ones (0.6.0 …) have no wheel for Python 3.13" in note
    assert "build_from_source: [docopt]" in note


def test_pins_and_what_is_not_there_are_not_asked_about() -> None:
    index = Index({})
    assert notes("six", "1", index, "six==1") == []
    assert list(held_back([], ["six"], ["six"], "3.13", index)) == []
    assert index.asked == []


def test_what_could_be_had_together_needs_no_word() -> None:
    answer = Ended(code=0, output="a==3\n", errors="")
    assert notes("a", "1+cpu", (index := Index({"3.13": answer}, answer))) == []
    assert index.asked[0][0] == ["a", "a>1"], "a local version cannot be compared by `>`"


def test_uv_is_asked_from_its_cache_and_only_about_what_moved(fake_uv: Path) -> None:
    program(
        fake_uv,
        f"""case "$*" in
*--output-file*) cat > "$7" <<'E'
{pylock(wheels("six", "1", ("six-1-py3-none-any.whl", "a" * 64)))}
E
;;
*) echo "$@" >> "{fake_uv}/asked"; cat "$3" >> "{fake_uv}/lines"; echo "six==2"
   case "$*" in *--no-deps*) ;; *) echo 'Because of rain' >&2; exit 1 ;; esac ;;
esac""",
    )
    request = LockRequest(python="3.13", platforms={"linux/amd64": AMD}, requirements=("six<3",), base="b")
    solved = UvSolver(fake_uv).solve(request, "linux/amd64", None, Upgrade(), False)
    assert solved.notes == ("six 1 is locked, and there is 2: because of rain",)
    alone, together = (fake_uv / "asked").read_text().splitlines()
    assert "--offline" in alone
    assert "--no-deps" in alone
    assert "--offline" not in together
    assert (fake_uv / "lines").read_text() == "six<3\nsix>1\n" * 2
    (fake_uv / "asked").unlink()
    kept = f"six==1 \\\n    --hash=sha256:{'a' * 64}\n"
    assert UvSolver(fake_uv).solve(request, "linux/amd64", kept, Upgrade(), False).notes == ()
    assert not (fake_uv / "asked").exists(), "nothing moved"
