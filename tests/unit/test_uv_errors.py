"""What uv's error texts mean."""

from __future__ import annotations

import pytest

from packager.environments.uv_errors import MAX_LINES, explain, redact
from packager.errors import ContextError, LockError, PackagerError, TemporaryError


def meaning(text: str) -> PackagerError:
    return explain(text, platform="linux/arm64", python="3.13", hide="/tmp/packager-lock-x")


def test_no_solution_is_explained_in_uvs_words() -> None:
    error = meaning(
        "error: No solution found when resolving dependencies\n"
        "  cause: Because a==1 depends on b<2 and you require a==1, we can conclude that b<2.\n"
        "         And because you require b>=2, we can conclude that your requirements are unsatisfiable.\n"
    )
    assert isinstance(error, LockError)
    assert error.message.splitlines() == [
        "no packages fit the requirements for Python 3.13 on linux/arm64:",
        "    Because a==1 depends on b<2 and you require a==1, we can conclude that b<2.",
        "    And because you require b>=2, we can conclude that your requirements are unsatisfiable.",
    ]
    assert error.remedy == "change the requirements so that they fit together"


def test_a_long_explanation_is_cut() -> None:
    lines = [f"         And because {number}" for number in range(30)]
    error = meaning("error: No solution found when resolving dependencies\n  cause: Because x\n" + "\n".join(lines))
    assert len(error.message.splitlines()) == 1 + MAX_LINES
    assert error.message.endswith("… (20 more lines)")


def test_a_missing_wheel_names_the_package_and_the_way_out() -> None:
    error = meaning(
        "error: No solution found when resolving dependencies\n"
        "  cause: Because docopt==0.6.2 has no usable wheels and you require docopt==0.6.2, we can conclude…\n\n"
        "hint: Wheels are required for `docopt` because building from source is disabled for all packages "
        "(i.e., with `--no-build`)\n"
    )
    assert isinstance(error, LockError)
    assert "`build_from_source: [docopt]`" in str(error.remedy)
    assert "--no-build" not in str(error)


def test_an_unknown_package() -> None:
    error = meaning("error: No solution found\n  cause: Because nmpy was not found in the package registry and …\n")
    assert isinstance(error, LockError)
    assert "spelling of nmpy" in str(error.remedy)


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        ("all versions of sklearn have no usable wheels and you require sklearn, we can conclude", "`scikit-learn`"),
        ("pil was not found in the package registry and you require pil>=9, we can conclude", "`PIL` is the name"),
        (
            "cv2 was not found in the package registry and you require cv2[x], we can conclude",
            "`opencv-python-headless`",
        ),
        (
            "there is no version of torch==2.1.0+cu118 and you require torch==2.1.0+cu118, we can conclude",
            "UV_INDEX or PIP_EXTRA_INDEX_URL, here and wherever the image is built; or ask for the usual index's "
            "build, `torch==2.1.0`",
        ),
        (
            "json was not found in the package registry and you require json, we can conclude",
            "json is a part of Python",
        ),
        ("python was not found in the package registry and you require python>=3.9, we can", '`python: "3.9"`'),
        (
            "pywin32==227 has no wheels with a matching Python ABI tag and you require pywin32==227, we",
            "pywin32 is for Windows alone: take it out",
        ),
        (
            "tensorflow-intel==2.12.0 has no wheels with a matching platform tag and you "
            "require tensorflow-intel==2.12.0, we can conclude",
            "ask for `tensorflow`",
        ),
        ("en-core-web-sm was not found in the package registry and you require en-core-web-sm, we", "nlp.to_disk"),
        (
            "azureml-contrib-services==1.0.72 depends on azureml-core==1.0.72.* and you require "
            "azureml-contrib-services==1.0.72, we can conclude",
            "the inference server brings azureml.contrib.services",
        ),
        ("pycrypto was not found in the package registry and you require pycrypto, we can", "ask for `pycryptodome`"),
    ],
)
def test_the_name_of_an_import_and_a_build_of_another_index_are_told(cause: str, says: str) -> None:
    hint = (
        "hint: Wheels are required for `sklearn` because building from source is disabled\n"
        if "wheels" in cause
        else ""
    )
    error = meaning(f"error: No solution found when resolving dependencies\n  cause: Because {cause} that\n{hint}")
    assert isinstance(error, LockError)
    assert says in str(error.remedy)
    assert "build_from_source" not in str(error.remedy)


def test_what_others_require_is_no_requirement_of_the_user() -> None:
    error = meaning(
        "error: No solution found\n  cause: Because yaml was not found in the package registry and a==1 needs yaml "
        "and you require a==1, we can conclude …\n"
    )
    assert "spelling of yaml" in str(error.remedy)


@pytest.mark.parametrize(
    "text",
    [
        "error: Request failed after 3 retries in 7.2s\n  cause: Failed to fetch: http://h/six/\n"
        "  cause: client error (Connect)\n  cause: tcp connect error\n  cause: Connection refused (os error 111)",
        "error: Failed to fetch: http://h/six/\n  cause: client error (Connect)\n  cause: dns error",
        "error: Failed to fetch: http://h/six/\n  cause: operation timed out",
        "error: Failed to fetch: http://h/six/\n  cause: HTTP status server error (503 Service Unavailable) for url",
        "error: Failed to fetch: http://h/six/\n  cause: HTTP status client error (429 Too Many Requests) for url",
    ],
)
def test_no_network_is_temporary(text: str) -> None:
    error = meaning(text)
    assert isinstance(error, TemporaryError)
    assert "--offline" in str(error.remedy)


def test_an_untrusted_certificate_is_not_temporary() -> None:
    error = meaning(
        "error: Failed to fetch: https://h/six/\n  cause: client error (Connect)\n"
        "  cause: invalid peer certificate: UnknownIssuer"
    )
    assert isinstance(error, LockError)
    assert "SSL_CERT_FILE" in str(error.remedy)


@pytest.mark.parametrize(
    "text",
    [
        "error: No solution found\n  cause: Because six was not found in the package registry\n\n"
        "hint: An index URL (http://h/simple) could not be queried due to a lack of valid authentication credentials "
        "(401 Unauthorized)",
        "error: No solution found\n  cause: Because six was not found in the package registry\n\n"
        "hint: An index (http://h/simple) returned a 403 Forbidden error. Check that …",
        "error: Failed to fetch: http://h/six/\n  cause: HTTP status client error (403 Forbidden) for url",
    ],
)
def test_refused_credentials(text: str) -> None:
    error = meaning(text)
    assert isinstance(error, LockError)
    assert "credentials" in error.message
    assert "UV_DEFAULT_INDEX" in str(error.remedy)


def test_offline_names_what_the_cache_lacks() -> None:
    hint = "\n\nhint: Packages were unavailable because the network was disabled. When …"
    error = meaning("error: No solution found\n  cause: Because idna was not found in the cache and you require" + hint)
    assert isinstance(error, LockError)
    assert error.message == "uv cannot solve offline for Python 3.13 on linux/arm64; not in its cache: idna"
    error = meaning("error: No solution found\n  cause: Because six==1.15.0 needs to be downloaded from a reg" + hint)
    assert "not in its cache: six" in error.message
    error = meaning(
        "error: Network connectivity is disabled, but the requested data wasn't found in the cache for: "
        "`https://u:p@h/six-1-py3-none-any.whl.metadata`"
    )
    assert "not in its cache: six-1-py3-none-any.whl.metadata" in error.message
    assert "--offline" not in str(error.remedy)


def test_a_failed_build() -> None:
    error = meaning("error: Failed to build `numpy==1.19.0`\n  cause: The build backend returned an error")
    assert isinstance(error, LockError)
    assert error.message.startswith("numpy==1.19.0 cannot be built from source for Python 3.13 on linux/arm64")


def test_a_cache_that_cannot_be_used_is_no_conflict() -> None:
    text = (
        "error: Failed to initialize cache at `/proc/nope/uv`\n  Caused by: failed to create directory `/proc/nope/uv`"
    )
    error = explain(text, platform="linux/amd64", python="3.13")
    assert isinstance(error, ContextError)
    assert error.message.startswith("/proc/nope/uv cannot be used as uv's cache")
    assert "XDG_CACHE_HOME" in str(error.remedy)


def test_python_is_no_requirement() -> None:
    text = (
        "No solution found\nBecause python was not found in the package registry and you require python==3.13, we can"
    )
    assert 'write `python: "3.13"` in the spec' in str(explain(text, platform="linux/amd64", python="3.13").remedy)


def test_anything_else_is_shown() -> None:
    error = meaning("error: Failed to parse: /tmp/packager-lock-x/uv.toml\n  cause: oops")
    assert error.message == "uv failed for Python 3.13 on linux/arm64:\n    Failed to parse: uv.toml\n    oops"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("at https://bob:hunter2@h/simple and", "at https://***@h/simple and"),
        ("http://hunter2@h", "http://***@h"),
        ("https://a:p@ss@h/x", "https://***@h/x"),
        ("https://h/a@b", "https://h/a@b"),
    ],
)
def test_credentials_of_urls_are_not_repeated(text: str, redacted: str) -> None:
    assert redact(text) == redacted
    assert "hunter2" not in str(meaning(f"error: {text}"))
