from __future__ import annotations

import codecs
import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from packager.environments.declare.environment import Environment, read_environment, read_environments
from packager.environments.declare.requirement import (
    INFERENCE_SERVER,
    MAX_LENGTH,
    has_extras,
    normalise,
    plain_form,
    requirement_name,
)
from packager.environments.declare.requirements_txt import logical_lines
from packager.environments.lock import PackageSources
from packager.errors import Location, SpecError
from packager.spec import load_spec

LEAST = 'name: a\nversion: "1"\nentry_script: score.py\n'
A, B, C = "a" * 64, "b" * 64, "c" * 64
WHERE = Location(file="requirements.txt", line=1)


def read(folder: Path, text: str, *, file: str = "requirements.txt", more: str = "", **others: str) -> Environment:
    """Read the environment of a spec whose folder holds some files."""
    (folder / "packager.yaml").write_text(f"{LEAST}environment: {file}\n{more}", "utf-8")
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(text, "utf-8")
    for name, content in others.items():
        (folder / f"{name}.txt").write_text(content, "utf-8")
    return read_environment(load_spec(folder))


def refused(folder: Path, text: str, *, file: str = "requirements.txt", more: str = "", **others: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        read(folder, text, file=file, more=more, **others)
    assert caught.value.remedy, f"no remedy: {caught.value}"
    return caught.value


# --- one requirement ---


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("NumPy", "numpy"),
        ("Flask_Login [B_x, a] >= 1 , < 2", "flask-login[a,b-x]<2,>=1"),
        ("a (==1.0)", "a==1.0"),
        ("a==1.*", "a==1.*"),
        ("a ; python_version<'3.14'", 'a; python_version < "3.14"'),
        ("torch==2.1.0+cpu", "torch==2.1.0+cpu"),
        ("\ta\t", "a"),
    ],
)
def test_equal_requirements_have_one_form(text: str, normal: str) -> None:
    assert normalise(text, WHERE) == normal


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a @ https://example.com/a-1-py3-none-any.whl", "by URL"),
        ("a@file:///srv/a.whl", "by URL"),
        ("a[x] @ somewhere", "by URL"),
        ("https://user:hunter2@example.com/a.whl", "by URL"),
        ("git+https://hunter2@example.com/a", "VCS"),
        ("a @ git+ssh://git@example.com/a@0123456", "VCS"),
        ("A @ HG+https://example.com/a", "VCS"),
        ("./a", "local path"),
        ("..", "local path"),
        ("/srv/a", "local path"),
        ("~/a", "local path"),
        ("libs/a", "local path"),
        ("six-1.17.0-py2.py3-none-any.whl", "local path"),
        ("a-1.tar.gz ; python_version > '3'", "local path"),
        ("${TOKEN}", "environment variables"),
        ("a==${VERSION}", "environment variables"),
        ("a\x00b", "control character U+0000"),
        ("a\u2028b", "control character U+2028"),
        ("a" * (MAX_LENGTH + 1), "longer than"),
        ("a=1", "is not a requirement"),
        ("a==", "is not a requirement"),
        ("a b", "is not a requirement"),
        ("$(touch x)", "is not a requirement"),
        ("-a", "is not a requirement"),
    ],
)
def test_what_cannot_be_locked_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        normalise(text, WHERE)
    assert message in caught.value.message
    assert caught.value.where == WHERE
    assert "hunter2" not in str(caught.value)


def test_a_single_equals_sign_is_explained() -> None:
    with pytest.raises(SpecError) as caught:
        normalise("numpy=1.2", WHERE)
    assert caught.value.remedy == "pip wants two equals signs: name==version"


@given(st.text(max_size=60))
def test_any_text_is_normalised_or_refused(text: str) -> None:
    assert normalise("A_b ==1.0", WHERE) == "a-b==1.0"
    try:
        normal = normalise(text, WHERE)
    except SpecError:
        return
    assert normalise(normal, WHERE) == normal
    assert Requirement(normal).url is None
    assert requirement_name(normal) == canonicalize_name(Requirement(text.strip()).name)
    assert has_extras(normal) == bool(Requirement(normal).extras)
    assert "\n" not in normal


@given(
    st.from_regex(
        r"[A-Za-z0-9]([A-Za-z0-9._-]{0,8}[A-Za-z0-9])?(\[[a-z]{1,3}\])?(==|>=|~=|<)[0-9]\.[0-9]", fullmatch=True
    )
)
def test_what_packaging_reads_is_accepted_with_the_same_meaning(text: str) -> None:
    try:
        theirs = Requirement(text)
    except InvalidRequirement:
        return
    ours = Requirement(normalise(text, WHERE))
    assert (ours.specifier, ours.marker) == (theirs.specifier, theirs.marker)


NUMBERS = st.lists(st.sampled_from(["0", "1", "01", "10", "*", "1rc1"]), min_size=1, max_size=3).map(".".join)
LIMIT = st.tuples(st.sampled_from(["==", "!=", ">=", "<=", "<", ">", "~=", "==="]), st.sampled_from(["", " "]), NUMBERS)


@given(
    st.text("aB1-_.", min_size=1, max_size=4),
    st.lists(st.text("aB1-_", min_size=1, max_size=3), max_size=2),
    st.lists(LIMIT.map("".join), max_size=3),
    st.sampled_from([",", ", ", " , "]),
)
def test_the_short_way_gives_what_the_library_gives(
    name: str, extras: list[str], limits: list[str], comma: str
) -> None:
    text = f"{name}{f'[{comma.join(extras)}]' if extras else ''}{comma.join(limits)}"
    ours = plain_form(text)
    if ours is not None:
        theirs = Requirement(text)
        theirs.name = canonicalize_name(theirs.name)
        theirs.extras = {canonicalize_name(extra) for extra in theirs.extras}
        assert ours == str(theirs)


@pytest.mark.parametrize(
    ("text", "normal"),
    [("scikit_learn==1.9.*", "scikit-learn==1.9.*"), ("a[Y_z,x] >= 1 , < 2", "a[x,y-z]<2,>=1"), ("a~=1.2", "a~=1.2")],
)
def test_the_short_way_is_taken(text: str, normal: str) -> None:
    assert plain_form(text) == normal


@pytest.mark.parametrize("text", ["a>=1,>=1.0", "a~=1", "a==1rc1", "a; python_version>'3'", "a (>=1)", "a>=1.*", "a-"])
def test_the_short_way_leaves_the_rest_to_the_library(text: str) -> None:
    assert plain_form(text) is None


# --- requirements.txt ---


def test_comments_continuations_and_hashes(tmp_path: Path) -> None:
    text = f"""\
# first
numpy==2.1.0 \\
    --hash=sha256:{A} --hash=sha256:{B.upper()} \\
    --hash "sha256:{C}"   # why
scikit-learn \\
  >=1,<2
   # indented
a#b
"""
    error = refused(tmp_path, text)
    assert str(error.where).endswith("requirements.txt:8"), "a `#` without a space before it is no comment"
    environment = read(tmp_path, text.replace("a#b\n", ""))
    assert environment.requirements == (INFERENCE_SERVER, "numpy==2.1.0", "scikit-learn<2,>=1")
    assert environment.hashes == {"numpy==2.1.0": (A, B, C)}


def test_hashes_of_one_package_hold_together(tmp_path: Path) -> None:
    text = f"-c c.txt\nsix==1.17.0 --hash=sha256:{A} --hash=sha256:{B}\n"
    environment = read(tmp_path, text, c=f"six==1.17.0 --hash=sha256:{B} --hash=sha256:{C}\n")
    assert environment.hashes == {"six==1.17.0": (B,)}
    on_arm = f"six==1.17.0 ; platform_machine == 'aarch64' --hash=sha256:{C}\n"
    assert len(read(tmp_path, text + on_arm, c="").hashes) == 2, "what a marker parts is told apart by it"
    more = "targets: {cpu: {environment: {remove: [six]}}}\n"
    (tmp_path / "requirements.txt").write_text(f"six==1.17.0 --hash=sha256:{A}\nidna\n")
    (tmp_path / "packager.yaml").write_text(f"{LEAST}environment: requirements.txt\n{more}")
    assert read_environment(load_spec(tmp_path).for_target("cpu")).hashes == {}


def test_hashes_in_a_pip_section_of_conda_and_in_the_spec(tmp_path: Path) -> None:
    line = f"six==1.17.0 --hash=sha256:{A}"
    conda = f"dependencies: [python=3.13, {{pip: ['{line}']}}]\n"
    assert read(tmp_path, conda, file="environment.yml").hashes == {"six==1.17.0": (A,)}
    (tmp_path / "packager.yaml").write_text(f"{LEAST}environment: {{pip: ['{line}']}}\n")
    assert read_environment(load_spec(tmp_path)).hashes == {"six==1.17.0": (A,)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"six --hash=sha256:{'a' * 64}", "admits several"),
        (f"six>=1.17 --hash=sha256:{'a' * 64}", "admits several"),
        (f"six==1.* --hash=sha256:{'a' * 64}", "admits several"),
        (f"six==1.17,!=1.17.1 --hash=sha256:{'a' * 64}", "admits several"),
        ("six==1.17.0 --hash=sha256:aa", "none that a lock can hold to"),
        (f"six==1.17.0 --hash=sha512:{'a' * 128}", "none that a lock can hold to"),
        (f"six==1.17.0 --hash=md5:{'a' * 32}", "none that a lock can hold to"),
        ("six==1.17.0 --hash=", "is not a requirement"),
    ],
)
def test_a_hash_that_cannot_be_held_to_is_refused(tmp_path: Path, line: str, message: str) -> None:
    error = refused(tmp_path, f"{line}\n")
    assert message in error.message
    assert str(error.where).endswith("requirements.txt:1")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_and_a_byte_order_mark(tmp_path: Path, end: str) -> None:
    (tmp_path / "packager.yaml").write_text(f"{LEAST}environment: r.txt\n")
    (tmp_path / "r.txt").write_bytes(b"\xef\xbb\xbf" + end.join(["numpy", "six \\", "==1.17", ""]).encode())
    assert read_environment(load_spec(tmp_path)).requirements == (INFERENCE_SERVER, "numpy", "six==1.17")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "packager.yaml").write_text(f"{LEAST}environment: r.txt\n")
    # The mark goes before the comment, as in pip.
    (tmp_path / "r.txt").write_bytes("# coding: latin-1\nnumpy  # größer\n-r more.txt\n".encode(encoding))
    (tmp_path / "more.txt").write_bytes(codecs.BOM_UTF16_BE + "idna\n".encode("utf-16-be"))
    assert read_environment(load_spec(tmp_path)).requirements == (INFERENCE_SERVER, "idna", "numpy")


@pytest.mark.parametrize(
    "text",
    ["# -*- coding: latin-1 -*-\nnumpy  # größer\n", "# größer\n# vim: set fileencoding=cp1252 :\nnumpy\n"],
)
def test_a_comment_says_the_encoding(tmp_path: Path, text: str) -> None:
    (tmp_path / "packager.yaml").write_text(f"{LEAST}environment: r.txt\n")
    (tmp_path / "r.txt").write_bytes(text.encode("latin-1"))
    assert read_environment(load_spec(tmp_path)).requirements == (INFERENCE_SERVER, "numpy")


@pytest.mark.parametrize(
    ("raw", "message", "line"),
    [
        (b"a\n# gr\xf6\xdfer\n", "not UTF-8", 2),
        (b"a\nb\n# coding: latin-1\n# \xf6\n", "not UTF-8", 4),
        (b" # coding: latin-1\n# \xf6\n", "not UTF-8", 2),
        (b"# coding: latin-none\na\n", "'latin-none' is no encoding", 1),
        (b"# coding: rot13\na\n", "'rot13' is no encoding", 1),
        (b"# coding: undefined\na\n", "not UNDEFINED", 1),
        (b"# coding: ascii\n# \xf6\n", "not ASCII", 2),
        (codecs.BOM_UTF16_LE + b"a", "not UTF-16", 1),
        (b"a\x00\n\x00", "control character U+0000", 1),
    ],
)
def test_what_no_encoding_reads_is_refused(tmp_path: Path, raw: bytes, message: str, line: int) -> None:
    (tmp_path / "packager.yaml").write_text(f"{LEAST}environment: r.txt\n")
    (tmp_path / "r.txt").write_bytes(raw)
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        read_environment(load_spec(tmp_path))
    assert caught.value.where == Location(file=str(tmp_path / "r.txt"), line=line)
    assert caught.value.remedy


def test_line_numbers_are_those_of_the_first_physical_line() -> None:
    assert list(logical_lines("\n\na \\\n b\nc \\")) == [(3, "a  b"), (5, "c")]
    assert list(logical_lines("a \\\n# comment \\\nb")) == [(1, "a"), (3, "b")]


def test_includes_and_constraints(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / "base.txt").write_text("-r deep/more.txt\n--constraint=deep/c.txt\nB\n")
    (tmp_path / "sub" / "deep" / "more.txt").write_text("a==1\n-r ../../top.txt\n")
    (tmp_path / "sub" / "deep" / "c.txt").write_text("urllib3<3\n-r 'inner c.txt'\n")
    (tmp_path / "sub" / "deep" / "inner c.txt").write_text("idna<4\n")
    environment = read(tmp_path, "--requirement sub/base.txt\n-rtop.txt\n-c sub/deep/c.txt\nb\n", top="t\n")
    assert environment.requirements == ("a==1", INFERENCE_SERVER, "b", "t")
    assert environment.constraints == ("idna<4", "urllib3<3")
    assert list(environment.inputs) == [
        "requirements.txt",
        "sub/base.txt",
        "sub/deep/c.txt",
        "sub/deep/inner c.txt",
        "sub/deep/more.txt",
        "top.txt",
    ]
    assert environment.inputs["top.txt"] == "sha256:" + hashlib.sha256(b"t\n").hexdigest()


@pytest.mark.parametrize("line", ["-e .", "--editable=.", "-e ./", ".", "-e .[dev,test]", "-e '.'"])
def test_the_project_itself_is_packaged_as_source(tmp_path: Path, line: str) -> None:
    environment = read(tmp_path, f"{line}\nsix\n")
    assert environment.requirements == (INFERENCE_SERVER, "six")
    assert "`source_dir` packages the code" in environment.notes[0]


def test_what_pip_freeze_writes_elsewhere(tmp_path: Path) -> None:
    environment = read(tmp_path, "pkg_resources==0.0.0\nsix==1.17.0\n")
    assert environment.requirements == (INFERENCE_SERVER, "six==1.17.0")
    assert "requirements.txt:1: pkg-resources==0.0.0 is passed over" in environment.notes[0]
    of_conda = "certifi @ file:///opt/conda/conda-bld/certifi_1655968806487/work/certifi\n"
    assert "pip list --format=freeze" in str(refused(tmp_path, of_conda).remedy)


@pytest.mark.parametrize("head", ["", "en_core_web_sm @ ", "en-core-web-sm@"])
def test_a_model_of_spacy_is_a_model(tmp_path: Path, head: str) -> None:
    url = "https://github.com/explosion/spacy-models/releases/download/x/en_core_web_sm-3.5.0-py3-none-any.whl"
    assert "`models:` of the spec" in str(refused(tmp_path, f"{head}{url}\n").remedy)


@pytest.mark.parametrize(
    "line",
    [
        *("--prefer-binary", "--only-binary=:all:", "--only-binary numpy,pandas", "--require-hashes"),
        *("--use-feature=2020-resolver", "--trusted-host pypi.org", "--no-cache-dir", "--default-timeout=100"),
    ],
)
def test_options_that_ask_for_what_is_done_anyway_are_passed_over(tmp_path: Path, line: str) -> None:
    environment = read(tmp_path, f"six\n{line}\nidna\n")
    assert environment.requirements == (INFERENCE_SERVER, "idna", "six")
    (said,) = environment.notes
    assert re.match(rf".*/requirements\.txt:2: {line.split('=')[0].split()[0]} is passed over", said)


def test_indexes_are_those_of_the_lock_and_the_public_one_is_the_machines(tmp_path: Path) -> None:
    lines = (
        "-i https://pypi.org/simple/",
        "--extra-index-url=https://download.pytorch.org/whl/cpu",
        "torch==2.3.1+cpu",
    )
    environment = read(tmp_path, "\n".join([*lines, ""]))
    assert environment.sources == PackageSources(
        indexes=("download-pytorch-org-whl-cpu=https://download.pytorch.org/whl/cpu",)
    )
    (said,) = environment.notes
    assert "whoever builds the image needs it as UV_INDEX" in said
    (tmp_path / "b").mkdir()
    mirror = read(tmp_path / "b", "--index-url 'https://mirrors.aliyun.com/pypi/simple/'\nsix\n")
    assert mirror.sources.default == "mirrors-aliyun-com-pypi-simple=https://mirrors.aliyun.com/pypi/simple/"


def test_indexes_of_conda_files_and_of_what_is_added_for_a_target(tmp_path: Path) -> None:
    extra = "--extra-index-url https://example.com/"
    (tmp_path / "env.yml").write_text(f"dependencies: [python=3.13, {{pip: [{extra}a, six]}}]\n")
    (tmp_path / "packager.yaml").write_text(
        'name: a\nversion: "1"\nentry_script: score.py\nenvironment: env.yml\n'
        f"targets: {{cpu: {{environment: {{add: {{pip: [{extra}b, idna]}}}}}}}}\n"
    )
    environment = read_environments(load_spec(tmp_path))["cpu"]
    assert environment.sources.indexes == ("example-com-a=https://example.com/a", "example-com-b=https://example.com/b")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-e ./lib", "editable"),
        ("-e ..", "editable"),
        ("--editable=git+https://hunter2@example.com/x", "editable"),
        ("-i https://bob:hunter2@example.com/simple", "option -i"),
        ("--index-url https://bob:hunter2@example.com/simple", "option --index-url"),
        ("--extra-index-url=https://bob:hunter2@example.com/simple", "option --extra-index-url"),
        ("-f https://bob:hunter2@example.com", "option -f"),
        ("-fhttps://bob:hunter2@example.com", "option -f"),
        ("--find-links hunter2", "option --find-links"),
        ("--no-index", "option --no-index"),
        ("--extra-index-url https://${HUNTER2}@example.com/simple", "option --extra-index-url"),
        ("--extra-index-url https://example.com/simple?token=hunter2", "option --extra-index-url"),
        ("-i file:///hunter2/simple", "option -i"),
        ("--pre", "option --pre"),
        ("--no-binary :all:", "option --no-binary"),
        ("--frobnicate", "option --frobnicate"),
        ("--https://bob:hunter2@example.com", "option"),
        ("--", "option"),
        ("numpy --global-option=x", "is not a requirement"),
        ("-r", "no file is named"),
        ("-r https://bob:hunter2@example.com/r.txt", "local one"),
        ("-c ${HOME}/hunter2.txt", "local one"),
        ("-r /etc/passwd", "leaves the folder"),
        ("-r ../r.txt", "leaves the folder"),
        ("-r link.txt", "leaves the folder"),
        ("-r missing.txt", "is not there"),
        ("-r folder", "is not there"),
        ("-c extras.txt", "cannot have extras"),
    ],
)
def test_options_are_refused_with_file_line_and_without_their_values(tmp_path: Path, line: str, message: str) -> None:
    spec = tmp_path / "spec"
    (spec / "folder").mkdir(parents=True)
    (tmp_path / "outside.txt").write_text("numpy\n")
    (spec / "link.txt").symlink_to(tmp_path / "outside.txt")
    (spec / "extras.txt").write_text("\nflask[async]\n")
    error = refused(spec, f"six\n{line}\n")
    assert message in error.message
    assert error.where is not None
    assert error.where.line == 2
    assert "hunter2" not in str(error)


def test_a_loop_of_includes_names_the_chain(tmp_path: Path) -> None:
    error = refused(tmp_path, "-r a.txt\n", a="-r b.txt\n", b="six\n-r ./a.txt\n")
    assert f"{tmp_path / 'a.txt'} -> {tmp_path / 'b.txt'} -> {tmp_path / 'a.txt'}" in error.message
    assert str(error.where).endswith("b.txt:2")


def test_a_file_that_includes_itself(tmp_path: Path) -> None:
    assert "include each other" in refused(tmp_path, "-r requirements.txt\n").message


def test_includes_that_multiply_are_read_once(tmp_path: Path) -> None:
    for level in range(40):
        (tmp_path / f"l{level}.txt").write_text(f"-r l{level + 1}.txt\n-c l{level + 1}.txt\n" * 2)
    (tmp_path / "l40.txt").write_text("six\n")
    environment = read(tmp_path, "-r l0.txt\n")
    assert environment.requirements == (INFERENCE_SERVER, "six")
    assert environment.constraints == ("six",)


def test_too_many_files(tmp_path: Path) -> None:
    for number in range(120):
        (tmp_path / f"n{number}.txt").write_text(f"-r n{number + 1}.txt\n")
    with pytest.raises(SpecError, match="more than 100 files"):
        read(tmp_path, "-r n0.txt\n")


def test_too_many_requirements(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="more than 10000 requirements"):
        read(tmp_path, "\n".join(f"n{number}" for number in range(10_001)))


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "packager.yaml").write_text(f"{LEAST}environment: r.txt\n")
    (tmp_path / "r.txt").write_bytes(b"six\n\xff\n")
    with pytest.raises(SpecError, match="not UTF-8") as caught:
        read_environment(load_spec(tmp_path))
    assert str(caught.value.where).endswith("r.txt:2")


def test_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "packager.yaml").write_text(f"{LEAST}environment: r.txt\n")
    with pytest.raises(SpecError, match=r"'r\.txt' is not there"):
        read_environment(load_spec(tmp_path))


@given(st.text(alphabet=st.sampled_from("ab1=<>.[], ;#\\-@:/\t\n\r\"'${}"), max_size=80))
def test_any_file_is_read_or_refused_with_its_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    found: Environment | SpecError
    try:
        found = read(folder, text)
    except SpecError as error:
        found = error
    if isinstance(found, SpecError):
        assert found.where is not None
        assert 1 <= (found.where.line or 0) <= text.count("\n") + text.count("\r") + 1
    else:
        assert found.requirements == tuple(sorted(set(found.requirements)))


# --- the inference server ---


@pytest.mark.parametrize(
    "named",
    ["azureml-inference-server-http==1.4.0", "AzureML_Inference.Server-HTTP", "azureml-inference-server-http[x]>=1"],
)
def test_the_users_inference_server_wins(tmp_path: Path, named: str) -> None:
    assert read(tmp_path, f"{named}\nsix\n").requirements == tuple(sorted([normalise(named, WHERE), "six"]))


def test_an_empty_file_still_has_the_inference_server(tmp_path: Path) -> None:
    assert read(tmp_path, "").requirements == (INFERENCE_SERVER,)


# --- other kinds ---


@pytest.mark.parametrize("file", ["setup.py", "Pipfile", "other.toml"])
def test_an_unknown_kind_of_environment(tmp_path: Path, file: str) -> None:
    assert "no known kind" in refused(tmp_path, "", file=file).message


def test_an_environment_behind_a_link_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "spec").mkdir()
    (tmp_path / "outside.txt").write_text("six\n")
    (tmp_path / "spec" / "r.txt").symlink_to(tmp_path / "outside.txt")
    (tmp_path / "spec" / "packager.yaml").write_text(f"{LEAST}environment: r.txt\n")
    with pytest.raises(SpecError, match="leaves the folder"):
        read_environment(load_spec(tmp_path / "spec"))


def test_inline(tmp_path: Path) -> None:
    (tmp_path / "packager.yaml").write_text(f"{LEAST}environment:\n  pip:\n    - Six\n    - numpy>=1\n    - six\n")
    environment = read_environment(load_spec(tmp_path))
    assert environment == Environment(requirements=(INFERENCE_SERVER, "numpy>=1", "six"))


def test_inline_errors_name_line_and_field(tmp_path: Path) -> None:
    (tmp_path / "packager.yaml").write_text(f"{LEAST}environment:\n  pip:\n    - six\n    - git+https://x/y\n")
    with pytest.raises(SpecError) as caught:
        read_environment(load_spec(tmp_path))
    assert str(caught.value.where).endswith("packager.yaml:7 (environment.pip[1])")


PROJECT = """\
[project]
name = "x"
requires-python = ">=3.11"
dependencies = [
    "NumPy>=1",
    "six",
]
"""


def test_pyproject(tmp_path: Path) -> None:
    environment = read(tmp_path, PROJECT, file="pyproject.toml")
    assert environment.requirements == (INFERENCE_SERVER, "numpy>=1", "six")
    assert list(environment.inputs) == ["pyproject.toml"]


def test_pyproject_without_dependencies(tmp_path: Path) -> None:
    assert read(tmp_path, "[project]\nname = 'x'\n", file="pyproject.toml").requirements == (INFERENCE_SERVER,)


@pytest.mark.parametrize("python", [">=3.13.2", "~=3.13", "==3.13.*", ">=3.9,!=3.13.0"])
def test_requires_python_admits_some_patch_release(tmp_path: Path, python: str) -> None:
    read(tmp_path, PROJECT.replace(">=3.11", python), file="pyproject.toml")


@pytest.mark.parametrize(
    ("change", "message", "line"),
    [
        ((">=3.11", "<3.13"), "does not admit the spec's Python 3.13", 3),
        ((">=3.11", "3.11"), "is not a version specifier", 3),
        (('">=3.11"', "3.11"), "is not a version specifier", 3),
        (('"six"', '"six @ https://example.com/six.whl"'), "by URL", 6),
        (('"six"', "6"), "is not a list of texts", 1),
        (('name = "x"', 'dynamic = ["dependencies"]'), "dynamic", 1),
        (("[project]", "[tool]"), "has no [project] table", None),
        (("[project]", "[project"), "is not valid TOML", 1),
    ],
)
def test_what_is_wrong_in_pyproject(tmp_path: Path, change: tuple[str, str], message: str, line: int | None) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, PROJECT.replace(*change), file="pyproject.toml")
    assert message in caught.value.message
    assert caught.value.where is not None
    assert caught.value.where.line == line
