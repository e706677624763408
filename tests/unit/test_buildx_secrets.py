import configparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.engine.secrets import PIP_CONF_VARIABLE, Secret, index_secrets, parse_secret, pip_conf, proxy_args
from packager.errors import UsageError


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("id=a,src=/f", Secret(id="a", file="/f")),
        ("id=a,source=/f", Secret(id="a", file="/f")),
        ("type=file,id=a,src=/f", Secret(id="a", file="/f")),
        ("id=a,env=V", Secret(id="a", variable="V")),
        ("type=env,id=a,src=V", Secret(id="a", variable="V")),
        ("id=V", Secret(id="V", variable="V")),
        ('id=a,"src=/x,y"', Secret(id="a", file="/x,y")),
    ],
)
def test_a_secret(text: str, secret: Secret) -> None:
    assert parse_secret(text) == secret


@pytest.mark.parametrize(
    "text",
    ["hunter2", "id=a,hunter2", "id=a,value=hunter2", "TOKEN=hunter2", "src=hunter2", "id=a,src=f,env=hunter2", ""],
)
def test_a_value_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_secret(text)
    assert "hunter2" not in str(caught.value)


@given(st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs")), min_size=1))
def test_any_path_survives(path: str) -> None:
    secret = Secret(id="a", file=path)
    assert parse_secret(secret.argument) == secret


def test_pip_conf_is_what_pip_reads() -> None:
    text = pip_conf(
        {
            "PIP_INDEX_URL": "https://user:p%40ss@index.example/simple",
            "PIP_EXTRA_INDEX_URL": "https://one/simple https://two/simple",
            "UV_INDEX": "named=https://three/simple",
            "PIP_TRUSTED_HOST": "index.example",
        }
    )
    parser = configparser.RawConfigParser()  # as pip does
    parser.read_string(text)
    assert parser["global"]["index-url"] == "https://user:p%40ss@index.example/simple"
    assert parser["global"]["extra-index-url"].split() == [
        "https://one/simple",
        "https://two/simple",
        "https://three/simple",
    ]
    assert parser["global"]["trusted-host"] == "index.example"


def test_pips_index_goes_before_uvs() -> None:
    assert "index-url = https://pip\n" in pip_conf({"UV_DEFAULT_INDEX": "https://uv", "PIP_INDEX_URL": "https://pip"})
    assert "index-url = https://uv\n" in pip_conf({"UV_DEFAULT_INDEX": "https://uv"})
    assert pip_conf({"PIP_INDEX_URL": "", "PIP_TIMEOUT": "3"}) == ""


def test_credentials_of_a_named_index() -> None:
    environ = {"UV_INDEX": "my-own=https://index/simple", "UV_INDEX_MY_OWN_PASSWORD": "p/w"}
    assert "https://:p%2Fw@index/simple" in pip_conf(environ)


def test_the_index_travels_in_the_environment() -> None:
    settings = index_secrets({"PIP_INDEX_URL": "https://u:token@index/simple", "PIP_CERT": "/ca.pem"})
    assert [secret.argument for secret in settings.secrets] == [
        f"id=pip.conf,env={PIP_CONF_VARIABLE}",
        "id=ca,src=/ca.pem",
    ]
    assert "token" in settings.environ[PIP_CONF_VARIABLE]


def test_the_users_own_secrets_win() -> None:
    given_by_user = (Secret(id="pip.conf", file="/mine"), Secret(id="ca", file="/mine"))
    settings = index_secrets({"PIP_INDEX_URL": "https://index", "PIP_CERT": "/ca.pem"}, given_by_user)
    assert settings.secrets == ()
    assert settings.environ == {}


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({"HTTPS_PROXY": "http://proxy:1", "no_proxy": "127.0.0.1"}, ("HTTPS_PROXY", "no_proxy")),
        ({"http_proxy": "http://127.0.0.1:3128", "HTTPS_PROXY": "localhost:3128"}, ()),
        ({"http_proxy": "http://[::1]:3128", "HTTPS_PROXY": "[::1]:3128"}, ()),
        ({"HTTPS_PROXY": "http://127.example.com:1"}, ("HTTPS_PROXY",)),
        ({"HTTPS_PROXY": "http://[::1/x"}, ("HTTPS_PROXY",)),
        ({"HTTP_PROXY": ""}, ()),
        ({"PATH": "/bin"}, ()),
    ],
)
def test_proxies_go_by_name(environ: dict[str, str], names: tuple[str, ...]) -> None:
    assert proxy_args(environ) == names


def test_an_index_that_is_no_url_is_left_to_pip() -> None:
    environ = {"UV_INDEX": "x=http://[::1/x", "UV_INDEX_X_USERNAME": "bob", "UV_INDEX_X_PASSWORD": "pw"}
    assert "http://[::1/x" in pip_conf(environ)


def test_a_proxy_that_the_user_gives_wins() -> None:
    assert proxy_args({"HTTP_PROXY": "http://p", "http_proxy": "http://p"}, ["HTTP_PROXY=http://mine"]) == ()


def test_credentials_of_conda_channels_travel_as_a_file() -> None:
    def files(environ: dict[str, str], *given: Secret) -> list[str | None]:
        return [each.file for each in index_secrets(environ, given).secrets if each.id == "rattler-auth"]

    assert files({"HOME": "/home/ann"}) == ["/home/ann/.rattler/credentials.json"]
    assert files({"HOME": "/home/ann", "RATTLER_AUTH_FILE": "/a.json"}) == ["/a.json"]
    assert files({}) == []
    assert files({"RATTLER_AUTH_FILE": "/a.json"}, Secret(id="rattler-auth", file="/b.json")) == []
