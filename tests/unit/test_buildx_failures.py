"""The outputs are recorded from Docker Engine 26.1.5, buildx 0.13.1, pip 25 and uv 0.13."""

import pytest

from packager.engine.failures import build_failure, engine_failure, registry_failure
from packager.engine.process import plain_lines
from packager.errors import EngineError, PackagerError, RegistryError, TemporaryError


def failure(output: str) -> PackagerError:
    return build_failure(plain_lines(output), 1)


def metadata_failure(message: str, reference: str = "127.0.0.1:5000/no/such:1") -> str:
    return f"""\
#2 [internal] load metadata for {reference}
#2 ERROR: {message}
------
 > [internal] load metadata for {reference}:
------
Dockerfile:1
--------------------
   1 | >>> FROM {reference}
--------------------
ERROR: failed to solve: {reference}: failed to resolve source metadata for {reference}: {message}
"""


def push_failure(message: str, reference: str = "127.0.0.1:5000/e/x:1") -> str:
    return f"""\
#6 pushing {reference} with docker
#6 pushing layer b4498397ee59 done
#6 ERROR: {message}
------
 > pushing {reference} with docker:
------
ERROR: {message}
"""


def step_failure(log: str, code: int = 1) -> str:
    process = f'process "/bin/sh -c pip install" did not complete successfully: exit code: {code}'
    numbered = "".join(f"#7 0.{index:03} {line}\n" for index, line in enumerate(log.splitlines()))
    return f"""\
#5 [base] FROM x
#5 0.1 of another step
#7 [3/3] RUN pip install
{numbered}#7 ERROR: {process}
------
 > [3/3] RUN pip install:
0.999 the last lines again
------
Dockerfile:3
--------------------
   3 | >>> RUN pip install
--------------------
ERROR: failed to solve: {process}
"""


HEAD = "unexpected status from HEAD request to http://127.0.0.1:5000/v2/no/such/manifests/1"
NO_HOST = (
    'failed to do request: Head "https://registry.example.com/v2/library/x/manifests/1": '
    "dial tcp: lookup registry.example.com on 10.0.0.53:53: no such host"
)
REFUSED = 'failed to do request: Head "https://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'
DENIED_PULL = (
    "pull access denied, repository does not exist or may require authorization: "
    "server message: insufficient_scope: authorization failed"
)


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        ("127.0.0.1:5000/no/such:1: not found", RegistryError, "is not at 127.0.0.1:5000"),
        (f"{HEAD}: 401 Unauthorized", RegistryError, "docker login 127.0.0.1:5000"),
        (DENIED_PULL, RegistryError, "does not let us in"),
        (f"{HEAD}: 500 Internal Server Error", TemporaryError, "in trouble"),
        (f"{HEAD}: 503 Service Unavailable", TemporaryError, "in trouble"),
        (f"{HEAD}: 429 Too Many Requests", TemporaryError, "in trouble"),
        (NO_HOST, TemporaryError, "cannot be reached"),
        (REFUSED, TemporaryError, "cannot be reached"),
        ('Get "https://r/v2/": net/http: TLS handshake timeout', TemporaryError, "cannot be reached"),
        ("tls: first record does not look like a TLS handshake", RegistryError, "no secure connection"),
        ("x509: certificate signed by unknown authority", RegistryError, "certs.d"),
        ('error getting credentials - err: exec: "docker-credential-x": not found', RegistryError, "credential helper"),
    ],
)
def test_the_base(message: str, kind: type[PackagerError], words: str) -> None:
    error = failure(metadata_failure(message))
    assert type(error) is kind
    assert words in str(error)
    assert "127.0.0.1:5000/no/such:1" in error.message
    if "credential helper" not in words and "certs.d" not in words and "secure" not in words:
        assert "--base" in str(error)
        assert "PACKAGER_REGISTRY_MIRROR" in str(error)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("unauthorized: authentication required", RegistryError),
        ("no basic auth credentials", RegistryError),
        ('denied: {"errors":[]}', RegistryError),
        ("received unexpected HTTP status: 500 Internal Server Error", TemporaryError),
        ('Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused', TemporaryError),
        ('Get "https://r/v2/": dial tcp: lookup r on 10.0.0.53:53: no such host', TemporaryError),
        ('Patch "http://r/v2/x": EOF', TemporaryError),
        ("manifest invalid: manifest invalid", RegistryError),
    ],
)
def test_a_push_by_the_build(message: str, kind: type[PackagerError]) -> None:
    error = failure(push_failure(message))
    assert type(error) is kind
    assert "127.0.0.1:5000/e/x:1" in error.message
    assert "--base" not in str(error)


def test_a_push_by_a_builder_of_its_own() -> None:
    error = failure(
        "ERROR: failed to solve: failed to push registry.example.com/a/b:1: "
        "unexpected status from POST request to https://registry.example.com/v2/a/b/blobs/uploads/: 403 Forbidden\n"
    )
    assert isinstance(error, RegistryError)
    assert "docker login registry.example.com" in str(error)


def test_a_step_that_failed() -> None:
    error = failure(step_failure("\n".join([*(f"line {number}" for number in range(40)), "bad news"]), 3))
    assert type(error) is EngineError
    assert "exit code 3" in error.message
    assert "[3/3] RUN pip install" in error.message
    assert "bad news" in error.message
    assert "line 26" in error.message  # the last 15
    assert "line 25" not in error.message
    assert "another step" not in error.message
    assert "#7" not in error.message


DRAWN = (
    "\x1b[1A\x1b[0G\x1b[?25l[+] Building 0.7s (5/5) FINISHED                docker:default\r\n"
    "\x1b[34m => [internal] load build definition from Dockerfile            0.0s\r\n"
    "\x1b[0m\x1b[31m => ERROR [2/2] RUN false; echo bad                      0.6s\r\n"
    "\x1b[0m\x1b[?25h------\r\n"
    " > [2/2] RUN false; echo bad:\r\n0.246 first line\r\n0.247 bad news\r\n------\r\n"
    "Dockerfile:2\r\n--------------------\r\n   2 | >>> RUN false; echo bad\r\n--------------------\r\n"
    'ERROR: failed to solve: process "/bin/sh -c false" did not complete successfully: exit code: 3\r\n'
)


def test_a_step_that_failed_drawn_on_a_terminal() -> None:
    error = failure(DRAWN)
    assert error.message.splitlines() == [
        "a step of the build failed with exit code 3: [2/2] RUN false; echo bad",
        "    first line",
        "    bad news",
    ]


HASHES = """\
Collecting six==1.16.0 (from -r /r.txt (line 1))
ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated the package versions, \
please update the hashes. Otherwise, examine the package contents carefully; someone may have tampered with them.
    six==1.16.0 from https://files.example/six-1.16.0-py2.py3-none-any.whl#sha256=8abb (from -r /r.txt (line 1)):
        Expected sha256 0000
             Got        8abb
"""
UVS_HASHES = """\
Using Python 3.13.5 environment at: /opt/env
error: Failed to download `six==1.16.0`
  cause: Hash mismatch for `six==1.16.0`

         Expected:
           sha256:0000

         Computed:
           sha256:8abb
wheels.py: uv ended with exit code 1
"""
UVS_NETWORK = """error: Failed to fetch: http://127.0.0.1:1/simple/six/
  cause: error sending request for url (http://127.0.0.1:1/simple/six/)
  cause: client error (Connect)
  cause: Connection refused (os error 111)
wheels.py: uv ended with exit code 2
"""
UVS_CERTIFICATE = """error: Failed to fetch: https://index.example/simple/six/
  cause: invalid peer certificate: UnknownIssuer
wheels.py: uv ended with exit code 2
"""
NO_UV = """ERROR: No matching distribution found for uv==0.13.9
wheels.py: uv==0.13.9 cannot be had from the index; `installer: pip` in the spec does without it
"""
RETRYING = (
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<HTTPSConnection>: "
    "Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/six/\n"
    "ERROR: No matching distribution found for six==1.16.0"
)
CERTIFICATE = (
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'SSLError(SSLCertVerificationError(1, "
    "'[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate'))'"
)
APT = "E: Failed to fetch http://mirror.example.com/debian/x.deb  Temporary failure resolving 'mirror.example.com'"


@pytest.mark.parametrize(
    ("log", "code", "kind", "words"),
    [
        (HASHES, 1, EngineError, "six==1.16.0"),
        (UVS_HASHES, 3, EngineError, "than were locked: six==1.16.0"),
        (UVS_CERTIFICATE, 3, EngineError, "--secret id=ca"),
        (UVS_NETWORK, 3, TemporaryError, "try again"),
        (NO_UV, 3, EngineError, "do without it: `installer: pip`"),
        (f"{RETRYING.partition(chr(10))[0]}\n{NO_UV}", 3, TemporaryError, "try again"),
        (RETRYING, 1, TemporaryError, "try again"),
        (APT, 100, TemporaryError, "try again"),
        ("pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.", 2, TemporaryError, "try again"),
        (CERTIFICATE, 1, EngineError, "--secret id=ca"),
        ("dd: error writing '/x/y': No space left on device", 1, EngineError, "disk is full"),
        ("exec /bin/sh: exec format error", 1, EngineError, "binfmt"),
        ("Killed", 137, EngineError, "memory"),
        ("ERROR: No matching distribution found for six==99", 1, EngineError, "six==99"),
    ],
)
def test_what_made_a_step_fail(log: str, code: int, kind: type[PackagerError], words: str) -> None:
    error = failure(step_failure(log, code))
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("ERROR: Cannot connect to the Docker daemon at unix:///nope.sock. Is the docker daemon running?", "nope.sock"),
        (
            "ERROR: permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
            "group `docker`",
        ),
        ("docker: 'buildx' is not a docker command.\nSee 'docker --help'", "docker-buildx"),
        ("unknown flag: --provenance\n\nUsage:  docker [OPTIONS] COMMAND [ARG...]\n", "docker-buildx"),
        ("unknown flag: --sbom\nSee 'docker buildx build --help'.", "the build failed"),
        ("ERROR: OCI exporter is not supported for the docker driver.\nSwitch to a different driver", "OCI exporter"),
        ("ERROR: failed to solve: failed to copy: write /var/lib/x: no space left on device", "docker builder prune"),
        ("", "exit code 1"),
    ],
)
def test_the_engine(output: str, words: str) -> None:
    error = failure(output)
    assert type(error) is EngineError
    assert words in str(error)


def test_a_missing_file_of_the_context_is_not_a_missing_base() -> None:
    error = failure('ERROR: failed to solve: failed to compute cache key: "/nothere": not found\n')
    assert type(error) is EngineError


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            "Error while fetching server API version: "
            "('Connection aborted.', FileNotFoundError(2, 'No such file or directory'))",
            "the engine does not answer: No such file or directory",
        ),
        ("('Connection aborted.', PermissionError(13, 'Permission denied'))", "no permission"),
        ("HTTPConnectionPool: Max retries exceeded: [Errno 111] Connection refused'))", ": Connection refused"),
        ("something else", ": something else"),
    ],
)
def test_the_sdks_words_are_shortened(message: str, words: str) -> None:
    assert words in engine_failure(message).message
    assert "Errno" not in engine_failure(message).message


def test_the_hub_needs_no_name_to_log_in() -> None:
    assert "`docker login` with" in str(registry_failure("unauthorized", "me/image:1"))
    assert "registry" in str(registry_failure("unauthorized", "NOT A REFERENCE"))


@pytest.mark.parametrize("kind", ["unauthorized", "x509: no", "manifest unknown", "no such host", "503", ""])
def test_what_a_registry_said_to_the_engine_is_shortened(kind: str) -> None:
    shown = str(registry_failure(f"{kind} \x1b[2J" + "X" * 100_000, "registry.lan/x:1"))
    assert "XXX" in shown
    assert len(shown) < 1000
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("E: Unable to locate package libgomp", "has no package libgomp"),
        ("E: Package 'mime-support' has no installation candidate\nE: Unable to locate package x", "mime-support, x"),
        ("E: Version '9.9' for 'libgomp1' was not found", "has not this version: libgomp1=9.9"),
    ],
)
def test_a_package_that_debian_has_not_is_the_cause(log: str, says: str) -> None:
    found = failure(step_failure(f"Reading state information...\n{log}", 100))
    assert isinstance(found, EngineError)
    assert says in found.message
    assert "\n" not in found.message
    assert "system_packages" in str(found.remedy)
