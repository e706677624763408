import json
from itertools import pairwise
from pathlib import Path

import pytest

from packager.engine.buildx import BuildRequest, Built, build, buildx_command, built_from, machine_settings
from packager.engine.secrets import MachineSettings, Secret
from packager.errors import EngineError, UsageError


def request(**changes: object) -> BuildRequest:
    values = {"context": Path("/context"), "tags": ("a/b:1",), "platform": "linux/amd64", "source_date_epoch": 0}
    return BuildRequest(**{**values, **changes})  # type: ignore[arg-type]


def command(**changes: object) -> list[str]:
    return buildx_command(request(**changes), Path("/m.json"), None)


def options(words: list[str], name: str) -> list[str]:
    return [value for option, value in pairwise(words) if option == name]


def test_the_plain_build() -> None:
    assert command() == [
        *("docker", "buildx", "build", "--provenance=false", "--sbom=false", "--progress", "auto"),
        *("--platform", "linux/amd64", "--metadata-file", "/m.json", "--load", "--tag", "a/b:1", "--", "/context"),
    ]


def test_every_option_arrives() -> None:
    words = buildx_command(
        request(
            tags=("a:1", "a:2"),
            push=True,
            no_cache=True,
            pull=True,
            secrets=("id=s,src=/f",),
            build_args=("A=b c",),
            labels={"k": "v=w"},
            cache_from=("type=registry,ref=r",),
            cache_to=("type=inline",),
            outputs=("type=image",),
            builder="other",
        ),
        Path("/m"),
        Path("/iid"),
        MachineSettings(secrets=(Secret(id="ca", file="/ca"),), build_args=("HTTP_PROXY",)),
    )
    assert options(words, "--tag") == ["a:1", "a:2"]
    assert options(words, "--secret") == ["id=s,src=/f", "id=ca,src=/ca"]
    assert options(words, "--build-arg") == ["A=b c", "HTTP_PROXY"]
    assert options(words, "--label") == ["k=v=w"]
    assert options(words, "--cache-from") == ["type=registry,ref=r"]
    assert options(words, "--cache-to") == ["type=inline"]
    assert options(words, "--output") == ["type=image"]
    assert options(words, "--builder") == ["other"]
    assert options(words, "--iidfile") == ["/iid"]
    assert {"--push", "--no-cache", "--pull"} < set(words)


@pytest.mark.parametrize(
    ("changes", "loads"),
    [
        ({}, True),
        ({"push": True}, False),
        ({"outputs": ("type=oci,dest=x",)}, False),
        ({"push": True, "load": True}, True),
    ],
)
def test_it_loads_unless_it_goes_elsewhere(changes: dict[str, object], loads: bool) -> None:
    assert ("--load" in command(**changes)) is loads


def test_a_quiet_build_still_writes_the_log_that_an_error_shows() -> None:
    assert options(command(progress="quiet"), "--progress") == ["plain"]
    assert options(command(progress="tty"), "--progress") == ["tty"]


@pytest.mark.parametrize("output", ["-", "type=tar,dest=-"])
def test_standard_output_stays_ours(output: str) -> None:
    with pytest.raises(UsageError, match="standard output"):
        command(outputs=(output,))


def test_a_context_cannot_be_an_option() -> None:
    assert command(context=Path("-x"))[-2:] == ["--", "-x"]


# As written by buildx 0.13.1 with the default builder of Docker Engine 26.1.5.
CONFIG, MANIFEST = "sha256:" + "4" * 64, "sha256:" + "f" * 64
PUSHED = {"containerimage.config.digest": CONFIG, "containerimage.digest": MANIFEST, "image.name": "a/b:1"}
LOADED = {"containerimage.config.digest": CONFIG, "containerimage.digest": CONFIG}


@pytest.mark.parametrize(
    ("metadata", "push", "image_id", "digest"),
    [(PUSHED, True, CONFIG, MANIFEST), (LOADED, False, CONFIG, CONFIG), ({}, False, "", "")],
)
def test_what_was_built(metadata: dict[str, str], push: bool, image_id: str, digest: str) -> None:
    built = built_from(json.dumps(metadata).encode(), request(push=push))
    assert built == Built(image_id=image_id, digest=digest, references=("a/b:1",), pushed=push)


def test_no_metadata_and_broken_metadata() -> None:
    assert built_from(b"", request()).digest == ""
    with pytest.raises(EngineError, match="cannot be read"):
        built_from(b"{", request())


def test_of_this_machine_only_what_is_there_is_handed_on(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    environ = {
        "SSL_CERT_FILE": str(bundle),
        "PIP_INDEX_URL": "https://index/simple",
        "HTTPS_PROXY": "http://proxy:3128",
    }
    assert [secret.id for secret in machine_settings(environ).secrets] == ["pip.conf"]
    bundle.write_text("certificates")
    settings = machine_settings(environ)
    assert [secret.id for secret in settings.secrets] == ["pip.conf", "ca"]
    assert settings.build_args == ("HTTPS_PROXY",)
    bundle.write_bytes(b"x" * 600_000)  # more than BuildKit takes as a secret
    assert [secret.id for secret in machine_settings(environ).secrets] == ["pip.conf"]


def test_channels_that_name_variables_get_them_beside_rattlers_own(tmp_path: Path) -> None:
    own = tmp_path / "auth.json"
    own.write_text('{"conda.example.com": {"BearerToken": "b"}}')
    environ = {"RATTLER_AUTH_FILE": str(own), "NAME": "lena", "PASSWORD": "hunter2"}
    channels = ("https://${NAME}:${PASSWORD}@c.example.com/x", "https://c.example.com/t/${UNSET}/y", "https://d/z")
    settings = machine_settings(environ, channels=channels)
    assert [secret.argument for secret in settings.secrets] == ["id=rattler-auth,env=PACKAGER_RATTLER_AUTH"]
    assert json.loads(settings.environ["PACKAGER_RATTLER_AUTH"]) == {
        "conda.example.com": {"BearerToken": "b"},
        "https://c.example.com/x": {"BasicHTTP": {"username": "lena", "password": "hunter2"}},
    }
    assert machine_settings(environ, channels=channels[1:]) == machine_settings(environ)
    given = (Secret(id="rattler-auth", file="mine.json"),)
    assert not machine_settings(environ, given, channels=channels).environ, "the user's own goes first"
    own.write_text("hunter2")
    with pytest.raises(UsageError, match="not a JSON object") as caught:
        machine_settings(environ, channels=channels)
    assert "hunter2" not in str(caught.value)


def fake_docker(folder: Path, script: str) -> dict[str, str]:
    docker = folder / "docker"
    docker.write_text(f"#!/bin/sh\n{script}\n")
    docker.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_a_build_hands_over_epoch_and_secrets_and_reads_the_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    environ = fake_docker(
        tmp_path,
        f"""echo "$@" > {tmp_path}/args
        echo "$SOURCE_DATE_EPOCH $PACKAGER_PIP_CONF" > {tmp_path}/environ
        echo progress >&2; echo noise
        echo '{json.dumps(LOADED)}' > {tmp_path}/metadata""",
    )
    monkeypatch.setenv("PATH", environ["PATH"])
    token = "s3cret-token"
    built = build(
        request(source_date_epoch=315532800, metadata_file=tmp_path / "metadata", progress="plain"),
        {**environ, "PIP_INDEX_URL": f"https://user:{token}@index/simple"},
    )
    assert built.image_id == CONFIG
    assert token not in (tmp_path / "args").read_text()
    assert (tmp_path / "environ").read_text().startswith("315532800 [global]")
    assert token in (tmp_path / "environ").read_text()
    assert capfd.readouterr() == ("", "progress\n")


def test_a_quiet_build_shows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    environ = fake_docker(tmp_path, "echo progress >&2")
    monkeypatch.setenv("PATH", environ["PATH"])
    build(request(progress="quiet"), environ)
    assert capfd.readouterr() == ("", "")


def test_docker_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="not on PATH"):
        build(request(), {"PATH": str(tmp_path)})


@pytest.mark.parametrize("secret", ["id=s,src=/no/such/file", "id=s,env=NO_SUCH_VARIABLE"])
def test_a_secret_that_is_not_there(secret: str) -> None:
    with pytest.raises(UsageError, match="id=s"):
        build(request(secrets=(secret,)), {})


def test_the_network_of_the_steps() -> None:
    assert options(command(network="host"), "--network") == ["host"]
    assert "--network" not in command()
