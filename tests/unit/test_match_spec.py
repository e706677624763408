from __future__ import annotations

import json
import re
import string
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.environments.declare.conda_python import python_minors, settle_python
from packager.environments.declare.match_spec import Placed, parse_match_spec
from packager.errors import Location, SpecError
from packager.spec.channel import check_channel

WHERE = Location(file="environment.yml", line=3)

FORMS = {
    "numpy": "numpy",
    "NumPy": "numpy",
    "_libgcc_mutex 0.1 conda_forge": "_libgcc_mutex ==0.1 conda_forge",
    "numpy 1.26.*": "numpy 1.26.*",
    "numpy=1.26": "numpy 1.26.*",
    "numpy =1.26": "numpy 1.26.*",
    "numpy = 1.26": "numpy 1.26.*",
    "numpy=1.26.*": "numpy 1.26.*",
    "numpy 1.26*": "numpy 1.26.*",
    "numpy 1.26": "numpy ==1.26",
    "numpy==1.26.4": "numpy ==1.26.4",
    "numpy==1.26.*": "numpy 1.26.*",
    "numpy>=1,<2": "numpy >=1,<2",
    "numpy >= 1 , < 2": "numpy >=1,<2",
    "numpy (>=1.2)": "numpy >=1.2",
    "numpy>=1,(<2|>3)": "numpy >=1,(<2|>3)",
    "numpy 1.2|1.3.*": "numpy ==1.2|1.3.*",
    "numpy!=1.3.*": "numpy !=1.3.*",
    "numpy>1.2.*": "numpy >=1.2",
    "numpy~=1.2": "numpy ~=1.2",
    "numpy 1!1.2+local": "numpy ==1!1.2+local",
    "numpy *": "numpy *",
    "numpy=1.26.4=py312h_0": "numpy ==1.26.4 py312h_0",
    "numpy==1.26.4=py312h_0": "numpy ==1.26.4 py312h_0",
    "numpy 1.26.4 py312*": "numpy ==1.26.4 py312*",
    "numpy=1.2=": "numpy 1.2.*",
    "tensorflow=*=*cuda*": "tensorflow * *cuda*",
    "numpy >=1 py*": "numpy >=1 py*",
    "conda-forge::numpy": "conda-forge::numpy",
    "conda-forge/label/rc::numpy=2": "conda-forge/label/rc::numpy 2.*",
    "conda-forge/linux-64::numpy=1.2": "conda-forge/linux-64::numpy 1.2.*",
    "https://Example.com/forge/::numpy": "https://example.com/forge::numpy",
    "numpy[channel=forge, subdir=noarch]": "forge/noarch::numpy",
    "numpy[subdir=linux-64]": 'numpy[subdir="linux-64"]',
    'numpy[version=">=1", build="cuda*"]': "numpy >=1 cuda*",
    "numpy[version='>=1,<2']": "numpy >=1,<2",
    "numpy[build='^(cuda|cpu)$']": 'numpy[build="^(cuda|cpu)$"]',
    "numpy 1.2.*[build_number='>3']": 'numpy 1.2.*[build_number=">3"]',
    "numpy[build_number=3]": 'numpy[build_number="==3"]',
    "numpy[md5=0123456789ABCDEF0123456789abcdef]": 'numpy[md5="0123456789abcdef0123456789abcdef"]',
    "numpy[license='BSD 3', fn=numpy-1-0.conda]": 'numpy[fn="numpy-1-0.conda", license="BSD 3"]',
    "numpy >=1 # [linux]": "numpy >=1",
    "\tnumpy\t1.2\t": "numpy ==1.2",
}


@pytest.mark.parametrize(("text", "normal"), FORMS.items())
def test_each_form_has_one_spelling(text: str, normal: str) -> None:
    found = parse_match_spec(text, WHERE)
    assert str(found) == normal
    assert parse_match_spec(normal, WHERE) == found


def test_rattler_takes_the_normal_form_for_the_same() -> None:
    """In a process of its own, which ends without the interpreter's clean-up: that may crash."""
    code = (
        "import json, os, sys; from rattler import MatchSpec\n"
        "def parts(text):\n"
        "    spec = MatchSpec(text)\n"
        "    version = None if spec.version == '*' else spec.version\n"
        "    return [spec.name.normalized, version, spec.build, spec.channel and spec.channel.base_url, spec.subdir]\n"
        "print(json.dumps([[parts(each) for each in pair] for pair in json.load(sys.stdin)]), flush=True)\n"
        "os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(list(FORMS.items())), capture_output=True, text=True, check=True
    )
    for (text, _), (theirs, ours) in zip(FORMS.items(), json.loads(done.stdout), strict=True):
        assert ours == theirs, text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# only a comment", "is empty"),
        (">=3", "names no package"),
        ("num*", "is a pattern"),
        ("numpy@1", "not a requirement of conda"),
        ("a/b", "not a requirement of conda"),
        ("conda-forge:ns:numpy", "not a requirement of conda"),
        ("numpy;python_version>'3'", "not a requirement of conda"),
        ("numpy===1", "version that is not valid"),
        ("numpy=>1", "version that is not valid"),
        ("numpy>=", "version that is not valid"),
        ("numpy>=1,", "version that is not valid"),
        ("numpy>=1,,<2", "version that is not valid"),
        ("numpy>=1,(<2", "version that is not valid"),
        ("numpy 2.*.1", "version that is not valid"),
        ("numpy ^1.*$", "version that is not valid"),
        ("numpy>=1.2 <2", "more than a version and a build"),
        ("numpy 1 2 3", "more than a version and a build"),
        ("numpy 1 a$b", "build that is not valid"),
        ("numpy[", "brackets"),
        ("numpy[]x", "brackets"),
        ("numpy[version]", "brackets"),
        ("numpy[version='1',version='2']", "says its version twice"),
        ("numpy>1[version='<3']", "says its version twice"),
        ("a::numpy[channel=b]", "says its channel twice"),
        ("numpy[url='https://example.com/linux-64/numpy-1-0.conda']", "the key 'url'"),
        ("numpy[when='x']", "the key 'when'"),
        ("numpy[md5=12]", "md5 that is not valid"),
        ("numpy[subdir=here]", "subdir that is none"),
        ("https://example.com/c/linux-64/numpy-1-0.conda", "by URL or path"),
        ("./numpy-1-0.tar.bz2", "by URL or path"),
        ("__cuda>=12", "virtual package"),
        ("numpy\n>=1", "control character U+000A"),
        ("numpy\u2028", "control character U+2028"),
        ("numpy==${V}", "environment variables"),
        ("n" * 5000, "longer than"),
        ("n" * 300, "not a requirement"),
        ("https://me:hush@example.com/c::numpy", "credentials"),
        ("https://example.com/t/hush/c::numpy", "credentials"),
        ("https://example.com/c?hush::numpy[", "brackets"),
        ("../forge::numpy", "by path"),
    ],
)
def test_what_is_none_says_why(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        parse_match_spec(text, WHERE)
    assert caught.value.where == WHERE
    assert "hush" not in str(caught.value)


@given(st.text(max_size=80) | st.text(alphabet="ab1.=<>!~,|*[]()\"' :/-#", max_size=40))
def test_any_text_is_refused_or_has_a_stable_form(text: str) -> None:
    assert str(parse_match_spec("numpy>=1,<2", WHERE)) == "numpy >=1,<2"
    try:
        found = parse_match_spec(text, WHERE)
    except SpecError:
        return
    assert parse_match_spec(str(found), WHERE) == found
    assert str(found).isprintable()


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,5}(?:-[a-z0-9]{1,4})?", fullmatch=True)
VERSIONS = st.from_regex(r"[0-9]{1,3}(?:\.[0-9]{1,3}){0,3}(?:rc1)?", fullmatch=True)
ATOMS = st.builds(str.__add__, st.sampled_from(["==", ">=", "<=", ">", "<", "!=", "~="]), VERSIONS) | VERSIONS.map(
    "{}.*".format
)
SPACE = st.sampled_from(["", " ", "  ", "\t"])


@given(NAMES, st.lists(ATOMS, min_size=1, max_size=4), st.sampled_from([",", "|"]), SPACE, SPACE)
def test_white_space_and_case_change_nothing(name: str, atoms: list[str], join: str, one: str, two: str) -> None:
    plain = parse_match_spec(f"{name} {join.join(atoms)}", WHERE)
    spaced = parse_match_spec(f"{two}{name.upper()} {one}{f'{one}{join}{two}'.join(atoms)}{two}", WHERE)
    assert spaced == plain
    assert str(plain) == f"{name} {join.join(atoms)}"


# --- channels ---


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("conda-forge", "conda-forge"),
        ("conda-forge/label/rc", "conda-forge/label/rc"),
        ("conda-forge/", "conda-forge"),
        ("defaults", "main"),
        ("https://Example.COM:8443/Forge/", "https://example.com:8443/Forge"),
        ("HTTP://[::1]/c", "http://[::1]/c"),
        ("file:///srv/channel/", "file:///srv/channel"),
        ("file://localhost/srv/c", "file:///srv/c"),
        ("s3://bucket/c", "s3://bucket/c"),
    ],
)
def test_channels_have_one_spelling(text: str, normal: str) -> None:
    assert check_channel(text, WHERE) == normal
    assert check_channel(normal, WHERE) == normal


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://hush@example.com/c", "credentials"),
        ("https://me:hush@example.com/c", "credentials"),
        ("https://example.com/t/hush/c", "credentials"),
        ("https://example.com/t/hush", "credentials"),
        ("https://example.com/c?token=hush", "credentials"),
        ("https://example.com/c#hush", "credentials"),
        ("t/hush/conda-forge", "token"),
        ("https://$USER/$HUSH@example.com", "environment variables"),
        ("./channel", "by path"),
        ("/srv/channel", "by path"),
        ("~/channel", "by path"),
        ("C:\\channel", "by path"),
        ("a/../b", "neither a name nor a URL"),
        ("a b", "neither a name nor a URL"),
        ("", "neither a name nor a URL"),
        ("me:hush@example.com", "neither a name nor a URL"),
        ("ftp://example.com/c", "not fetched by"),
        ("https:///c", "no valid host"),
        ("https://exa mple.com/c", "no valid host"),
        ("https://example.com/a b", "path that is not valid"),
        ("https://example.com/a/../b", "path that is not valid"),
        ("file://server/c", "names no folder"),
        ("file:///", "names no folder"),
        ("x" * 2000, "longer than"),
    ],
)
def test_what_is_no_channel_says_why(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        check_channel(text, WHERE)
    assert caught.value.where == WHERE
    assert "hush" not in str(caught.value).lower()


@given(st.text(alphabet=string.ascii_letters + string.digits + ":/@?#.$-_ ~\\[]", max_size=60))
def test_no_channel_keeps_what_could_be_a_credential(text: str) -> None:
    assert check_channel("conda-forge", WHERE) == "conda-forge"
    try:
        found = check_channel(text, WHERE)
    except SpecError:
        return
    assert not set(found) & set("@?#$ \\")
    assert check_channel(found, WHERE) == found


# --- Python ---


@pytest.mark.parametrize(
    ("text", "minors"),
    [
        ("python=3.12", {12}),
        ("python 3.12.*", {12}),
        ("python 3.12*", {12}),
        ("python==3.12.4", {12}),
        ("python=3.12.4=h1_0", {12}),
        ("python>=3.12,<3.13", {12}),
        ("python>=3.12,<3.13.0a0", {12}),
        ("python ~=3.12.1", {12}),
        ("python>3.11.9,<3.12", {11}),
        ("python==3.11", {11}),
        ("python<3.2", {0, 1}),
        ("python>=3.1,<=3.3", {1, 2, 3}),
        ("python>3.1,<3.3", {1, 2}),
        ("python~=3.11.2", {11}),
        ("python~=3.11,<3.14", {11, 12, 13}),
        ("python>3.11.3,<3.11.5", {11}),
        ("python>3.11.4,<3.11.4", set()),
        ("python=3.11,!=3.11.0", {11}),
        ("python>=3.11,<3.13", {11, 12}),
        ("python 3.11.*|3.13.*", {11, 13}),
        ("python>=3.11,!=3.12.*,<3.14", {11, 13}),
        ("python<=3.1", {0, 1}),
        ("python=2.7", set()),
        ("python 3.13", {13}),
        ("python 3.13.0rc1", {13}),
    ],
)
def test_the_minor_versions_that_a_spec_admits(text: str, minors: set[int]) -> None:
    assert python_minors([parse_match_spec(text, WHERE).version]) == frozenset(minors)


@pytest.mark.parametrize(
    "text", ["python", "python *", "python>=3", "python=3", "python (>=3.12|<3.11),>=3.10", "python * *_cp312"]
)
def test_specs_that_leave_python_open(text: str) -> None:
    assert python_minors([parse_match_spec(text, WHERE).version]) is None


@given(st.integers(0, 30), st.integers(0, 30))
def test_a_range_of_minors_is_that_range(low: int, high: int) -> None:
    found = python_minors([f">=3.{low},<3.{high}"])
    assert found == frozenset(range(low, high))


def placed(*texts: str) -> list[Placed]:
    return [
        Placed(spec=parse_match_spec(text, WHERE), where=Location(file="environment.yml", line=number))
        for number, text in enumerate(texts, 1)
    ]


SPEC = Location(file="packager.yaml", line=9)


def test_python_is_what_file_and_spec_agree_on() -> None:
    assert settle_python(placed("python=3.12"), None, SPEC) == ("3.12", ())
    assert settle_python(placed("python=3.12"), "3.12", SPEC) == ("3.12", ())
    assert settle_python(placed("python>=3.11"), None, SPEC) == (None, ())
    assert settle_python(placed("python>=3.11"), "3.12", SPEC) == ("3.12", ("python 3.12.*",))
    assert settle_python(placed("numpy"), "3.12", SPEC) == ("3.12", ("python 3.12.*",))
    assert settle_python(placed("python>=3.11", "python<3.12"), None, SPEC) == ("3.11", ())


@pytest.mark.parametrize(
    ("texts", "wanted", "parts"),
    [
        (("numpy",), None, ("has no python", "packager.yaml:9")),
        (("python=3.12", "python=3.11"), None, ("contradicts", "environment.yml:1", "environment.yml:2")),
        (("python=2.7",), None, ("no Python 3", "environment.yml:1")),
        (("python=3.12",), "3.13", ("3.13", "packager.yaml:9", "environment.yml:1", "python 3.12.*")),
    ],
)
def test_python_that_cannot_be_names_the_places(
    texts: tuple[str, ...], wanted: str | None, parts: tuple[str, ...]
) -> None:
    with pytest.raises(SpecError) as caught:
        settle_python(placed(*texts), wanted, SPEC)
    assert caught.value.remedy
    for part in parts:
        assert part in str(caught.value)
