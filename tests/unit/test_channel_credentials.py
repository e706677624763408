"""Credentials in the URLs of channels: what is kept, what is told, and what is never shown."""

from __future__ import annotations

import pytest

from packager.environments.channel_credentials import (
    channel_access,
    hide_access,
    redact,
    require_access,
    shown,
    variables,
    with_variables,
    without_credentials,
)
from packager.errors import UsageError

USER, TOKEN = "https://${NAME}:$PASSWORD@conda.example.com/forge", "https://conda.example.com/t/${TOKEN}/forge"
ENVIRON = {"NAME": "bob", "PASSWORD": "hunter%402", "TOKEN": "tok/123"}


def test_urls_without_what_is_secret() -> None:
    secret = "https://bob:hunter2@conda.example.com/t/tok-123/forge/noarch/x-1-0.conda"
    assert without_credentials(secret) == "https://conda.example.com/forge/noarch/x-1-0.conda"
    assert redact(f"see {secret}") == "see https://***@conda.example.com/t/***/forge/noarch/x-1-0.conda"
    assert shown("https://conda.example.com/my%20forge/") == "https://conda.example.com/my forge"


def test_values_of_variables_are_told_as_rattler_wants_them() -> None:
    assert channel_access([USER, "https://open.example.com"], ENVIRON) == {
        "https://conda.example.com/forge": {"BasicHTTP": {"username": "bob", "password": "hunter@2"}}
    }
    assert channel_access([TOKEN], ENVIRON) == {"https://conda.example.com/t/*/forge": {"CondaToken": "tok%2F123"}}
    assert channel_access([USER], {"NAME": "bob", "PASSWORD": ""}) == {}


def test_a_variable_without_a_value_is_named() -> None:
    require_access([USER, TOKEN], ENVIRON)
    with pytest.raises(UsageError, match="the environment variable PASSWORD is not set") as caught:
        require_access([USER], {"NAME": "bob"})
    assert "export PASSWORD=…" in str(caught.value.remedy)
    with pytest.raises(UsageError, match="the environment variables NAME and PASSWORD are not set"):
        require_access([USER], {})


def test_values_are_hidden_in_each_form() -> None:
    text = "bob said hunter%402, hunter@2 and tok%2F123 at https://x:y@h/"
    assert hide_access(text, [USER, TOKEN], ENVIRON) == "bob said ***, *** and *** at https://***@h/"


def test_a_lock_keeps_the_names_of_variables() -> None:
    assert variables([USER, TOKEN, "https://$h.example.com"]) == ("NAME", "PASSWORD", "TOKEN", "h")
    package = "https://conda.example.com/t/tok-123/forge/noarch/x-1-0.conda"
    assert with_variables(package, [TOKEN]) == f"{TOKEN}/noarch/x-1-0.conda"
    assert with_variables(package, ["https://conda.example.com/other"]) == without_credentials(package)
