"""The server's part of the spec: rules, the image's variables, what `check` says, HANDOFF.md, and keys on this side."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from packager.checks.serving import check_config, check_cors, check_gunicorn
from packager.environments.lock import LockedPackage
from packager.errors import SpecError, UsageError
from packager.handoff.instructions import instructions
from packager.plan.plan import Plan
from packager.programs.image.keys import DEFAULT_PATH, FORM
from packager.programs.image.scoring import body_limit
from packager.serving.hosts.docker.container import create_options
from packager.serving.hosts.docker.volume import get_keys, put_keys
from packager.serving.keys import make_keys
from packager.serving.service import ImageRequest, KeyPair, Publish, State, new_key, why_it_ended
from packager.spec import load_spec, parse_spec
from packager.spec.load import SpecFile
from tests.unit.plans import LEAST, example_plan

KEYED = "server: {auth: key}\n"


def plan_of(more: str, **options: Any) -> Plan:
    return example_plan(more, models=0, **options)


def test_the_server_of_the_spec_becomes_its_variables() -> None:
    server = "server: {scoring_timeout: 1.5, cors_origins: ['https://a.example', 'http://b:8080'], auth: key}\n"
    config = plan_of(server).config
    assert config.env["SCORING_TIMEOUT_MS"] == "1500"
    assert config.env["AML_CORS_ORIGINS"] == "https://a.example,http://b:8080"
    assert config.env["PACKAGER_AUTH"] == config.labels["packager.auth"] == "key"
    plain = plan_of("").config
    assert not {"SCORING_TIMEOUT_MS", "AML_CORS_ORIGINS", "PACKAGER_AUTH"} & set(plain.env)
    assert "packager.auth" not in plain.labels
    assert plain.env["GUNICORN_CMD_ARGS"] == "--config=/opt/packager/server.py"
    # Keys hang on no variable: what starts the server has them.
    assert config.entrypoint[:2] == ("/opt/env/bin/python", "/opt/packager/start.py")
    assert plain.entrypoint[0] == "/opt/env/bin/azmlinfsrv"
    assert config.entrypoint[2:] == plain.entrypoint[1:]


@pytest.mark.parametrize(
    ("said", "size"),
    [("100Mi", 100 << 20), ("100MiB", 100 << 20), ("5MB", 5_000_000), ("64k", 64_000), ("4096", 4096), ("'7'", 7)],
)
def test_a_limit_of_bodies_is_given_to_the_server_in_bytes(said: str, size: int) -> None:
    env = plan_of(f"server: {{max_body: {said}}}\n").config.env
    assert body_limit(env) == size
    assert env["PACKAGER_MAX_BODY"] == str(size)
    assert "PACKAGER_MAX_BODY" not in plan_of("").config.env


@pytest.mark.parametrize(
    ("more", "field", "says"),
    [
        ("env: {AML_CORS_ORIGINS: '*'}\n", "env.AML_CORS_ORIGINS", "server.cors_origins"),
        ("env: {SCORING_TIMEOUT_MS: '5'}\n", "env.SCORING_TIMEOUT_MS", "server.scoring_timeout"),
        ("env: {PACKAGER_PRIMARY_KEY: abc}\n", "env.PACKAGER_PRIMARY_KEY", "no key is ever in an image"),
        ("env: {PACKAGER_AUTH: none}\n", "env.PACKAGER_AUTH", "server.auth"),
        ("server: {scoring_timeout: 300}\n", "server.scoring_timeout", "has to be longer"),
        ("server: {scoring_timeout: 0}\n", "server.scoring_timeout", "at least 0.001"),
        ("env: {PACKAGER_MAX_BODY: '5'}\n", "env.PACKAGER_MAX_BODY", "server.max_body"),
        ("server: {max_body: 0}\n", "server.max_body", "at least 1"),
        ("server: {max_body: lots}\n", "server.max_body", "a size such as 100Mi"),
        ("server: {max_body: 5 MB}\n", "server.max_body", "a size such as 100Mi"),
        ("server: {auth: token}\n", "server.auth", "token"),
        ("server: {cors_origins: ['a,b']}\n", "server.cors_origins[0]", ""),
        ("server: {cors_origins: ['https://a/path']}\n", "server.cors_origins[0]", ""),
        (KEYED + "env: {GUNICORN_CMD_ARGS: --threads=2}\n", "env.GUNICORN_CMD_ARGS", "gunicorn.conf.py"),
        (
            KEYED + "targets: {cpu: {env: {GUNICORN_CMD_ARGS: x}}}\n",
            "targets.cpu.env.GUNICORN_CMD_ARGS",
            "gunicorn.conf.py",
        ),
    ],
)
def test_what_the_spec_must_not_say(more: str, field: str, says: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_spec(LEAST + more, Path("packager.yaml"))
    assert refused.value.where is not None
    assert refused.value.where.field == field
    assert says in str(refused.value)
    assert refused.value.exit_code == 2


def test_no_variable_of_an_environment_takes_the_keys_away() -> None:
    with pytest.raises(SpecError, match="which ask for the key"):
        plan_of(KEYED, variables={"GUNICORN_CMD_ARGS": "--threads=2"})
    assert plan_of("", variables={"GUNICORN_CMD_ARGS": "--threads=2"})


def written(folder: Path, more: str, **files: str) -> SpecFile:
    (folder / "packager.yaml").write_text(LEAST.replace("score.py", "sub/score.py") + more)
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_json", ".json")
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return load_spec(folder / "packager.yaml")


def test_a_config_of_the_server_in_the_app_is_not_read_and_told(tmp_path: Path) -> None:
    files = {"config_json": '{"AZUREML_LOG_LEVEL": 1, "b": 2}', "sub__config_json": '{"hidden_size": 3}'}
    found = list(check_config(written(tmp_path, "", **files)))
    assert [(each.rule, each.severity, each.file) for each in found] == [("config-not-read", "info", "config.json")]
    assert "AZUREML_LOG_LEVEL" in found[0].message
    assert found[0].remedy is not None
    assert "/var/azureml-app/config.json" in found[0].remedy
    said = "env: {AZUREML_CONFIG_FILE: /var/azureml-app/config.json}\n"
    assert not list(check_config(written(tmp_path, said)))
    (found_one,) = check_config(written(tmp_path, "", sub__config_json='{"SERVICE_NAME": "x"}', config_json="[1]"))
    assert found_one.file == "sub/config.json"


def test_a_variable_that_replaces_the_settings_is_told(tmp_path: Path) -> None:
    (found,) = check_gunicorn(written(tmp_path, "env: {GUNICORN_CMD_ARGS: --threads=2}\n"))
    assert (found.rule, found.severity, found.line) == ("gunicorn-replaced", "info", 5)
    assert not list(check_gunicorn(written(tmp_path, "")))


def test_origins_need_flask_cors() -> None:
    plan = plan_of("server: {cors_origins: ['*']}\n")
    (found,) = check_cors(plan)
    assert (found.rule, found.severity) == ("cors-missing", "error")
    package = LockedPackage(name="flask-cors", version="6.0.5", digests=("a" * 64,))
    locked = msgspec.structs.replace(plan.environment.locked, packages=(*plan.environment.packages, package))
    environment = msgspec.structs.replace(plan.environment, locked=locked)
    assert not list(check_cors(msgspec.structs.replace(plan, environment=environment)))
    assert not list(check_cors(plan_of("")))


def test_the_instructions_tell_how_to_give_keys() -> None:
    text = instructions(plan_of(KEYED))
    assert '--volume "$PWD/keys:/run/secrets/packager-keys:ro"' in text
    assert text.count("Authorization: Bearer $(cat keys/primary)") == 2
    assert "keys" not in instructions(plan_of(""))


# --- keys on this side ------------------------------------------------------------------------------------------------


def test_keys_are_made_where_none_are_given() -> None:
    made = make_keys(None, {})
    assert FORM.match(made.primary)
    assert made.primary != made.secondary
    assert make_keys(None, {"PACKAGER_SECONDARY_KEY": "s" * 20}).secondary == "s" * 20
    both = make_keys(f"{'a' * 20}\n{'b' * 20}\n", {"PACKAGER_PRIMARY_KEY": "s" * 20})
    assert (both.primary, both.secondary) == ("a" * 20, "b" * 20)
    again = both.regenerated("primary")
    assert (again.primary != both.primary, again.secondary) == (True, both.secondary)
    assert "aaaa" not in repr(both) + str(ImageRequest(reference="a", name="a", publish=PUBLISH, keys=both))


PUBLISH = Publish(container_port=5001, port=0)


@pytest.mark.parametrize("text", ["", "short", "a b" * 10, "\n".join(["x" * 20] * 3)])
def test_what_cannot_be_a_key_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        make_keys(text, {})
    assert not text or text.split("\n")[0] not in str(refused.value)


class Volume:
    """Stands for a container with a volume: takes and gives archives as the engine does."""

    def __init__(self, mounted: bool = True) -> None:
        self.attrs: Any = {"Mounts": [{"Type": "volume", "Destination": DEFAULT_PATH}] if mounted else []}
        self.data = b""

    def put_archive(self, path: str, data: bytes) -> bool:
        assert path == DEFAULT_PATH
        self.data = data
        return True

    def get_archive(self, path: str) -> tuple[list[bytes], dict[str, Any]]:
        packed = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(self.data)) as given, tarfile.open(fileobj=packed, mode="w") as tar:
            for each in given:
                each.name = f"packager-keys/{each.name}"
                tar.addfile(each, given.extractfile(each))
        return [packed.getvalue()[:100], packed.getvalue()[100:]], {}


def test_keys_come_back_from_the_volume_that_they_were_put_into() -> None:
    volume: Any = Volume()
    pair = KeyPair(primary=new_key(), secondary=new_key())
    put_keys(volume, pair)
    assert get_keys(volume) == pair
    nothing: Any = Volume(mounted=False)
    assert get_keys(nothing) is None


def test_keys_are_in_no_option_of_the_container() -> None:
    pair = KeyPair(primary=new_key(), secondary=new_key())
    options = create_options(ImageRequest(reference="a", name="a", publish=PUBLISH, keys=pair), "127.0.0.1")
    assert options["mounts"] == [{"Target": DEFAULT_PATH, "Source": None, "Type": "volume", "ReadOnly": False}]
    assert pair.primary not in json.dumps(options)


def test_a_server_without_keys_is_explained() -> None:
    assert "has none that it can use" in why_it_ended(State(running=False, exit_code=78))
