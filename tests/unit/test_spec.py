from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from packager.cli import cli
from packager.context.sources import scan_sources
from packager.errors import SpecError, UsageError
from packager.programs.image.keys import KEYS_FILE, VARIABLES
from packager.spec import Spec, SpecFile, cases, load_spec, model, parse_spec, service
from packager.spec.examples import EXAMPLES
from packager.spec.model import InlineEnvironment
from packager.spec.schema import json_schema, schema_text
from packager.spec.tags import expand_tag
from packager.steps.init import init
from packager.steps.schema import schema
from packager.storage.models import Store

PATH = Path("packager.yaml")
LEAST = """\
name: diabetes
version: "1"
entry_script: score.py
environment: requirements.txt
"""


def spec(more: str = "", **replaced: str) -> Spec:
    text = LEAST
    for key, value in replaced.items():
        text = "".join(f"{key}: {value}\n" if line.startswith(f"{key}:") else line + "\n" for line in text.splitlines())
    return parse_spec(text + more, PATH).spec


def refused(more: str = "", **replaced: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        spec(more, **replaced)
    return caught.value


def test_the_least_spec_has_the_documented_defaults() -> None:
    found = spec()
    assert found.source_dir == "."
    assert found.python is None
    assert found.target_names == ("cpu",)
    assert found.image.tags == ("{version}",)
    assert (found.server.port, found.server.workers, found.server.timeout) == (5001, 1, 300)


def test_the_example_of_the_documentation_is_read() -> None:
    found = spec(
        "source_dir: src\nmodels:\n  - path: models/sklearn_regression_model.pkl\n    version: 1\n"
        "targets: [cpu]\nimage: {repository: registry.example.com/ml/diabetes, tags: ['{version}', latest]}\n"
        "env: {LOG_LEVEL: info}\nsystem_packages: [libgomp1, 'libc6=2.36-9+deb12u1']\n"
        "server: {port: 5001, workers: 1, timeout: 300}\n"
    )
    assert found.models[0].called == "sklearn_regression_model"
    assert found.models[0].version == 1
    assert found.system_packages[0] == "libgomp1"


@pytest.mark.parametrize(
    ("path", "name"),
    [("m/a.pkl", "a"), ("a.b.onnx", "a.b"), ("folder/", "folder"), ("folder", "folder"), ("x/.hidden", ".hidden")],
)
def test_a_model_is_named_after_its_file(path: str, name: str) -> None:
    assert msgspec.convert({"path": path}, type=type(spec("models: [{path: x}]").models[0])).called == name


@pytest.mark.parametrize(
    ("more", "field", "line", "says"),
    [
        ("modles: []\n", "modles", 5, "did you mean 'models'"),
        ("models:\n  - path: a.pkl\n    nmae: x\n", "models[0].nmae", 7, "did you mean 'name'"),
        ("server: {prot: 1}\n", "server.prot", 5, "did you mean 'port'"),
        ("image: {tag: [x]}\n", "image.tag", 5, "did you mean 'tags'"),
        ("targets: {cpu: {platform: x}}\n", "targets.cpu.platform", 5, "did you mean 'platforms'"),
        ("xyzzy: 1\n", "xyzzy", 5, "known here: name, version"),
    ],
)
def test_unknown_keys_say_which_was_meant(more: str, field: str, line: int, says: str) -> None:
    error = refused(more)
    assert error.where is not None
    assert (error.where.field, error.where.line) == (field, line)
    assert says in str(error)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ("server: {port: '5001'}\n", "server.port"),
        ("server: {port: 80}\n", "server.port"),
        ("server: {port: 70000}\n", "server.port"),
        ("server: {workers: 0}\n", "server.workers"),
        ("models: {path: a}\n", "models"),
        ("models: [{path: a, version: -1}]\n", "models[0].version"),
        ("models: [{path: a, version: '1'}]\n", "models[0].version"),
        ("env: [A]\n", "env"),
        ("env: {A: 1}\n", "env.A"),
        ("python: 3.10\n", "python"),
        ("python: '3'\n", "python"),
        ("targets: []\n", "targets"),
        ("targets: [cpu, cpu]\n", "targets"),
        ("targets: {cpu: {platforms: [windows/amd64]}}\n", "targets.cpu.platforms[0]"),
        ("image: {tags: []}\n", "image.tags"),
        ("description: null\n", "description"),
    ],
)
def test_wrong_types_and_bounds_name_the_field(more: str, field: str) -> None:
    error = refused(more)
    assert error.where is not None
    assert error.where.field == field
    assert error.where.line is not None
    assert error.where.line >= 5


@pytest.mark.parametrize(
    ("more", "remedy"),
    [
        ("test: [{name: a, path: score}]\n", "the path of a URL"),
        ("models: [{path: a, name: a b}]\n", "letters, digits, `.`, `_` and `-`"),
        ("models: [{path: -a}]\n", "a path relative to the folder of the spec"),
        ("source_dir: -a\n", "a path relative to the folder of the spec"),
        ("python: '3'\n", "a minor version in quotes"),
        ("python: 3.10\n", "write it in quotes"),
        ("env: {A: 1}\n", "write it in quotes"),
        ("models: [{path: a, framework: onyx}]\n", "sklearn, onnx, tensorflow or mlflow"),
        ("targets: {cpu: {python: 3.10}}\n", "write it in quotes"),
        ("targets: {cpu: {platforms: [linux]}}\n", "an OCI platform"),
        ("system_packages: [a b]\n", "Debian package names"),
        ("targets: {cpu: {system_packages: [a b]}}\n", "Debian package names"),
        ("test: [{name: a, method: get}]\n", "an HTTP method in capitals"),
    ],
)
def test_what_is_not_valid_comes_with_what_would_be(more: str, remedy: str) -> None:
    assert (refused(more).remedy or "").startswith(remedy)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ("targets: {cpu: {base: 'a b'}}\n", "targets.cpu.base"),
        ("targets: {cpu: {tags: ['a b']}}\n", "targets.cpu.tags[0]"),
        ("targets: {cpu: {env: {PATH: x}}}\n", "targets.cpu.env.PATH"),
        ("targets: {cpu: {system_packages: [curl, libgomp1, curl]}}\n", "targets.cpu.system_packages"),
        ("targets: {cpu: {models: [{path: ../m}]}}\n", "targets.cpu.models[0].path"),
        ("system_packages: [libgomp1, libgomp1]\n", "system_packages"),
        ("registry_mirrors: {docker.io: 'a b'}\n", "registry_mirrors.docker.io"),
    ],
)
def test_what_differs_by_target_keeps_the_same_rules(more: str, field: str) -> None:
    error = refused(more)
    assert error.where is not None
    assert error.where.field == field


@pytest.mark.parametrize(
    ("more", "message", "remedy"),
    [
        ("env: {A: 1.10}\n", "1.10 is a number", 'A: "1.10"'),
        ("env: {A: yes}\n", "yes is true or false", 'A: "yes"'),
        ("image: {tags: [1.10]}\n", "1.10 is a number", 'quotes: "1.10"'),
        ("targets: {cpu: {python: 3.10}}\n", "3.10 is a number", 'python: "3.10"'),
        ("name: 007\n", "007 is a number", 'name: "007"'),
    ],
)
def test_what_yaml_makes_no_text_of_is_shown_as_it_was_written(more: str, message: str, remedy: str) -> None:
    text = more if more.startswith("name") else LEAST + more
    with pytest.raises(SpecError) as caught:
        parse_spec(text + LEAST.partition("\n")[2] if more.startswith("name") else text, PATH)
    assert caught.value.message.startswith(message)
    assert str(caught.value.remedy).endswith(remedy)


@pytest.mark.parametrize(
    ("more", "message", "remedy"),
    [
        (
            "models: sentiment.joblib",
            "`models` takes a list, not the text 'sentiment.joblib'",
            "write `models: [{path: sentiment.joblib}]`",
        ),
        ("models: [a.pkl]", "`models[0]` takes a mapping, not the text 'a.pkl'", "write `{path: a.pkl}` in its place"),
        ("models: {path: a}", "`models` takes a list, not a mapping", "write `models: [{path: a}]`"),
        (
            "models: [{path: a, version: v1}]",
            "`version` takes a whole number, not the text 'v1'",
            "a whole number, such as 1",
        ),
        (
            "models: [{path: a, version: '2'}]",
            "`version` takes a whole number, not the text '2'",
            "write `version: 2`",
        ),
        ("targets: cpu", "`targets` takes a mapping or a list, not the text 'cpu'", "write `targets: [cpu]`"),
        (
            "targets: {cpu: gpu}",
            "`cpu` takes a mapping, not the text 'gpu'",
            "such as `cpu: {platforms: [linux/amd64, linux/arm64]}`",
        ),
        (
            "targets: {cpu: {}, gpu: {environment: [torch]}}",
            "`environment` takes a mapping, not a list",
            "such as `environment: {remove: [onnxruntime], add: {pip: [onnxruntime-gpu]}}`",
        ),
        ("server: {workers: two}", "`workers` takes a whole number, not the text 'two'", "such as `workers: 4`"),
        ("server: {port: 80}", "`port` takes a whole number of at least 1024, not 80", "such as `port: 8080`"),
        ("installer: conda", "'conda' is not valid here", "pip or uv"),
        ("conda: {installer: pip}", "'pip' is not valid here", "micromamba or rattler"),
        (
            "test: {name: a, request: {data: [1]}}",
            "`test` takes a list, not a mapping",
            "write `test: [{name: a, request: {data: [1]}}]`",
        ),
        (
            "image: {tags: [{version}]}",
            "`tags[0]` takes text, not a mapping",
            'write it in quotes, for braces alone are a mapping to YAML: "{version}"',
        ),
        ("image: host/x", "`image` takes a mapping, not the text 'host/x'", "write `image: {repository: host/x}`"),
        ("env: [LEVEL=info]", "`env` takes a mapping, not a list", "write `env: {LEVEL: info}`"),
        ("env: [LEVEL]", "`env` takes a mapping, not a list", "such as `env: {LOG_LEVEL: info}`"),
        ("registry_mirrors: {docker.io: 3}", "3 is a number to YAML", 'write it in quotes: docker.io: "3"'),
        ("models:", "`models` has no value", "write one, such as `models: [{path: models/model.pkl, version: 2}]`, or"),
    ],
)
def test_a_value_of_another_type_is_told_in_words_and_how_it_would_be_written(
    more: str, message: str, remedy: str
) -> None:
    error = refused(f"{more}\n")
    assert error.message.startswith(message)
    assert (error.remedy or "").startswith(remedy)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("models: sentiment.joblib", "models: [{path: sentiment.joblib}]"),
        ("models: {path: a}", "models: [{path: a}]"),
        ("server: {workers: '4'}", "workers: 4"),
        ("test: {name: a, request: {data: [1]}}", "test: [{name: a, request: {data: [1]}}]"),
        ("test: [{name: a, expect: [209.9]}]", "expect: {body: [209.9]}"),
        ("targets: cpu", "targets: [cpu]"),
        ("targets: {cpu: {platforms: linux/arm64}}", "platforms: [linux/arm64]"),
        ("system_packages: libgomp1", "system_packages: [libgomp1]"),
        ("image: {tags: latest}", "tags: [latest]"),
        ("description: [a text]", "description: a text"),
        ("compile: 'false'", "compile: false"),
        ("env: ['A=yes', 'B=1.0']", 'env: {A: "yes", B: "1.0"}'),
    ],
)
def test_what_was_meant_is_written_out_and_taken(wrong: str, right: str) -> None:
    assert refused(f"{wrong}\n").remedy == f"write `{right}`"
    if wrong.partition(":")[0] == right.partition(":")[0]:
        assert spec(f"{right}\n")


def test_an_item_of_a_list_is_written_so_that_it_fits_both_kinds_of_list() -> None:
    assert refused("models: [{path: b}, a]\n").remedy == "write `{path: a}` in its place"
    assert spec("models: [{path: b}, {path: a}]\n").models == spec("models:\n- path: b\n- {path: a}\n").models


def test_an_environment_that_is_a_list_or_has_one_package_is_shown_as_it_would_be_written() -> None:
    assert refused(environment="[pandas]").remedy == "write `environment: {pip: [pandas]}`"
    assert refused(environment="{pip: pandas}").remedy == "write `pip: [pandas]`"


@pytest.mark.parametrize("field", EXAMPLES["Spec"])
def test_every_field_of_the_spec_says_how_it_would_be_written(field: str) -> None:
    own = f"{field}: " in LEAST
    error = refused(**{field: "[[[1]]]"}) if own else refused(f"{field}: [[[1]]]\n")
    assert error.remedy
    assert "`array`" not in error.message


_KEYS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), max_size=4)
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(EXAMPLES["Spec"])), _ANYTHING)
def test_whatever_stands_in_a_field_is_taken_or_told_with_its_place(field: str, value: Any) -> None:
    data = yaml.safe_load(LEAST) | {field: value}
    told: SpecError | None = None
    try:
        parse_spec(yaml.safe_dump(data, allow_unicode=True), PATH)
    except SpecError as error:
        told = error
    if told is not None:
        assert told.where is not None
        assert told.where.line is not None
        assert "Expected" not in told.message


def test_a_value_of_an_unknown_type_is_shown_shortened() -> None:
    assert str(refused("server: {port: abc}\n")).partition("\n")[0].endswith("'abc'")
    shown = str(refused(f"server: {{port: {'x' * 200}}}\n")).partition("\n")[0]
    assert shown.endswith("'" + "x" * 76 + "...")


def test_numbers_where_text_is_wanted_are_explained() -> None:
    error = refused(version="1.10")
    assert error.message == "1.10 is a number to YAML, and this is text", "1.1 is what YAML makes of it"
    assert error.remedy == 'write it in quotes: version: "1.10"'
    assert error.where is not None
    assert error.where.line == 2


def test_a_missing_field_is_named() -> None:
    with pytest.raises(SpecError, match="'version' is missing"):
        parse_spec("name: a\n", PATH)


HOSTILE = ["a\nRUN evil", 'a"b', "a$HOME", "a`id`", "-rf", "a b", "a;b", "a\x00b", "a\n", "A\\", "", "a'b", "ä"]


@pytest.mark.parametrize("value", HOSTILE)
def test_no_name_carries_an_instruction(value: str) -> None:
    import json

    text = json.dumps(value)
    refused(name=text)
    refused(version=text)
    refused(f"models: [{{path: a, name: {text}}}]\n")
    refused(f"system_packages: [{text}]\n")
    refused(f"image: {{repository: {text}}}\n")
    refused(f"image: {{tags: [{text}]}}\n")
    refused(f"base: {text}\n")
    refused(f"env: {{{text}: x}}\n")


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x00b", "a\x1bb", "a\u2028b", "a\n"])
def test_env_values_are_one_printable_line(value: str) -> None:
    import json

    error = refused(f"env: {{A: {json.dumps(value)}}}\n")
    assert error.where is not None
    assert error.where.field == "env.A"


@given(st.text(alphabet=st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=60))
def test_every_other_env_value_is_kept_as_it_is(value: str) -> None:
    import json

    assert spec(f"env: {{A: {json.dumps(value, ensure_ascii=False)}}}\n").env == {"A": value}


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "C:/x", "-x", "a\\b", "a\nb", ""])
def test_paths_stay_in_the_folder(path: str) -> None:
    import json

    text = json.dumps(path)
    assert refused(f"models: [{{path: {text}}}]\n").exit_code == 2
    assert refused(f"source_dir: {text}\n").exit_code == 2
    assert refused(environment=text).exit_code == 2
    assert refused(entry_script=text).exit_code == 2


def test_the_entry_script_is_a_python_file() -> None:
    assert "not a Python file" in str(refused(entry_script="score.sh"))


def test_models_with_one_name_and_version_are_refused() -> None:
    error = refused("models:\n  - path: a/m.pkl\n  - path: b/m.onnx\n")
    assert "'m' version 0 is given twice (models[0] and models[1])" in str(error)
    assert len(spec("models: [{path: a/m.pkl}, {path: b/m.pkl, version: 1}]\n").models) == 2


@pytest.mark.parametrize(
    "name",
    [
        *("AML_APP_ROOT", "AZUREML_MODEL_DIR", "AZUREML_ENTRY_SCRIPT", "AZUREML_SOURCE_DIRECTORY"),
        *("WORKER_COUNT", "WORKER_TIMEOUT", "SCORING_TIMEOUT_MS", "AML_CORS_ORIGINS", "PATH"),
        *("PACKAGER_AUTH", KEYS_FILE, *VARIABLES),
    ],
)
def test_variables_that_the_image_sets_are_refused(name: str) -> None:
    assert f"{name} is set by packager" in str(refused(f"env: {{{name}: x}}\n"))


def test_the_options_of_conda_are_read() -> None:
    found = spec(
        "conda:\n  channel_priority: flexible\n  installer: micromamba\n  name_map: names.yml\n"
        "  channel_mirrors: {conda-forge: 'https://mirror.example.com/conda-forge'}\n"
        "targets: {cpu: {platforms: [linux/arm64], virtual_packages: {__glibc: '2.36', __archspec: 1=x86_64_v3}}}\n",
        environment="{curated: sklearn, channels: [conda-forge], conda: [numpy], pip: [six], variables: {A: '1'}}",
    )
    assert found.conda.name_map == "names.yml"
    assert found.target_options("cpu").virtual_packages == {"__glibc": "2.36", "__archspec": "1=x86_64_v3"}
    assert isinstance(found.environment, InlineEnvironment)
    assert found.environment.conda == ("numpy",)


@pytest.mark.parametrize(
    ("more", "environment", "field", "message"),
    [
        ("conda: {instaler: rattler}\n", "r.txt", "conda.instaler", "unknown key 'instaler'"),
        ("conda: {installer: mamba}\n", "r.txt", "conda.installer", "mamba"),
        ("conda: {name_map: ../names.yml}\n", "r.txt", "conda.name_map", "leaves the folder"),
        ("conda: {installer_base: 'a b'}\n", "r.txt", "conda.installer_base", "not valid"),
        ("conda: {channel_mirrors: {a: b}}\n", "r.txt", "conda.channel_mirrors.a", "URL of http"),
        ("conda: {channel_mirrors: {a: 'https://u:hush@b/c'}}\n", "r.txt", "conda.channel_mirrors.a", "credentials"),
        ("targets: {cpu: {virtual_packages: {cuda: '12'}}}\n", "r.txt", "targets.cpu.virtual_packages.cuda", "virtual"),
        ("targets: {cpu: {virtual_packages: {__cuda: 12}}}\n", "r.txt", "targets.cpu.virtual_packages.__cuda", "12"),
        ("targets: {cpu: {virtual_packages: {__a: 'x y'}}}\n", "r.txt", "targets.cpu.virtual_packages.__a", "version"),
        ("", "{conda: numpy}", "environment.conda", "takes a list"),
        ("", "{cuda: [numpy]}", "environment.cuda", "unknown key 'cuda'"),
        ("", "{variables: {PATH: x}}", "environment.variables.PATH", "set by packager"),
        ("", "{variables: {'A B': x}}", "environment.variables.A B", "not a name"),
        ("", "{variables: {A: 1}}", "environment.variables.A", "1"),
        ("", "{curated: Sklearn!}", "environment.curated", "not valid"),
    ],
)
def test_what_conda_cannot_be_told(more: str, environment: str, field: str, message: str) -> None:
    error = refused(more, environment=environment)
    assert error.where is not None
    assert error.where.field == field
    assert message in str(error)
    assert error.remedy
    assert "hush" not in str(error)


@pytest.mark.parametrize(
    "repository", ["registry.example.com/ml/Diabetes", "a:b", "a@sha256:0", "/a", "a//b", "a/", "http://x/y", "x:tag"]
)
def test_invalid_repositories_are_refused(repository: str) -> None:
    import json

    error = refused(f"image: {{repository: {json.dumps(repository)}}}\n")
    assert error.where is not None
    assert error.where.field == "image.repository"


def test_tags_are_expanded_and_checked() -> None:
    values = {"name": "d", "version": "1", "target": "cpu", "platform": "linux/arm64"}
    assert expand_tag("{version}-{target}-{platform}", **values) == "1-cpu-linux-arm64"
    assert "{nonsense}" in str(refused("image: {tags: ['{nonsense}']}\n"))
    assert "not a valid image tag" in str(refused("image: {tags: ['a b']}\n"))
    assert "not a valid image tag" in str(refused("image: {tags: ['{version']}\n"))


def test_a_folder_stands_for_its_packager_yaml(tmp_path: Path) -> None:
    (tmp_path / "packager.yaml").write_text(LEAST)
    found = load_spec(tmp_path)
    assert isinstance(found, SpecFile)
    assert found.root == tmp_path
    assert found.lock_path == tmp_path / "packager.lock"


def test_the_schema_describes_every_field() -> None:
    schema = json_schema()
    properties: dict[str, Any] = schema["$defs"]["Spec"]["properties"]
    assert set(properties) == {field.encode_name for field in msgspec.structs.fields(Spec)}
    assert schema["$defs"]["Spec"]["additionalProperties"] is False
    for title, definition in schema["$defs"].items():
        assert "Attributes:" not in definition["description"]
        for name, field in definition["properties"].items():
            assert field["description"], f"{title}.{name}"
    assert properties["python"]["description"].startswith("By default 3.13")
    assert properties["version"]["description"].endswith("'s. Text (in quotes) that is also valid as an image tag.")


@pytest.mark.parametrize(
    ("name", "top", "kinds"),
    [("spec", "Spec", set(EXAMPLES)), ("config", "Settings", {"Settings"})],
)
def test_every_field_has_a_description_a_default_and_an_example(name: str, top: str, kinds: set[str]) -> None:
    found = schema(name)
    validator = jsonschema.Draft202012Validator
    validator.check_schema(found)
    assert found["$ref"] == f"#/$defs/{top}"
    assert set(found["$defs"]) == kinds
    for part, definition in found["$defs"].items():
        for field, about in definition["properties"].items():
            where = f"{part}.{field}"
            assert len(about["description"]) > 5, where
            said = "default" in about or field in definition.get("required", ())
            # JSON has no word for a field that is not there where null is a value.
            assert said or "by default, " in about["description"], where
            (example, *_) = about["examples"]
            assert example != about.get("default"), where
            own = {**about, "$defs": found["$defs"]}
            assert list(validator(own).iter_errors(example)) == [], where


def test_the_examples_are_what_packager_reads_itself() -> None:
    """A schema's patterns may be wider than the types: each example is converted as a spec is."""
    values = {**vars(model), **vars(cases), **vars(service)}.values()
    kinds = {kind.__name__: kind for kind in values if isinstance(kind, type)}
    for part, examples in EXAMPLES.items():
        types = {field.encode_name: field.type for field in msgspec.structs.fields(kinds[part])}
        for name, example in examples.items():
            msgspec.convert(example, types[name])


def test_a_schema_that_there_is_not_is_named() -> None:
    with pytest.raises(UsageError, match="no schema 'lokc'") as caught:
        schema("lokc")
    assert "spec, config" in str(caught.value)


def test_what_init_writes_names_a_schema_that_is_there(tmp_path: Path) -> None:
    """By a path that holds in every checkout; and neither the file nor the spec gets into the image."""
    (tmp_path / "score.py").write_text("def init():\n    pass\n\n\ndef run(data):\n    return data\n")
    path, _ = init(tmp_path)
    first = path.read_text().partition("\n")[0]
    name = first.removeprefix("# yaml-language-server: $schema=")
    assert "/" not in name
    named = json.loads((tmp_path / name).read_text())
    assert named == json.loads(schema_text(json_schema()))
    jsonschema.validate(load_spec(path).document.data, named)
    paths = [file.path for file in scan_sources(load_spec(path), Store().digest).app.files]
    assert paths == ["score.py"]


def test_the_schema_is_renewed_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["schema", "-o", "packager.schema.json"])
    assert done.stdout == "packager.schema.json\n"
    printed = CliRunner().invoke(cli, ["schema"]).stdout
    assert json.loads((tmp_path / "packager.schema.json").read_text()) == json.loads(printed)
    refused = CliRunner().invoke(cli, ["schema", "-o", "no/folder.json"])
    assert isinstance(refused.exception, UsageError)


def test_mirrors_in_the_spec_are_registries() -> None:
    assert spec("registry_mirrors: {docker.io: 'mirror.example.com:5000/hub'}\n").registry_mirrors
    refused("registry_mirrors: {'docker.io\\nX': mirror.example.com}\n".replace("'", '"'))
