"""Keys of a service: which it needs, given by the user or made here."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from packager.contract import AUTH_LABEL
from packager.errors import UsageError
from packager.programs.image.keys import AUTH, KEYS_FILE, NAMES, VARIABLES, KeysError, make_token, parse
from packager.serving.service import KeyPair, Package, new_key
from packager.spec.rules import GUNICORN_VARIABLE

#: The variable by which a server asks for keys whose image does not: `key`.
AUTH_VARIABLE = AUTH


#: Seconds for which a token is good, and after which another one is to be asked for: as of Azure ML v1.
TOKEN_LIFE, TOKEN_REFRESH = 12 * 3600, 11 * 3600


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What lets in until it ends, or until the primary key is made new.

    Attributes:
        text: of the token.
        end: when it ends, in seconds of Unix.
        refresh: when another one is to be asked for.
    """

    text: str
    end: int
    refresh: int

    def __repr__(self) -> str:
        return f"Token(end={self.end}, …)"


def token_of(pair: KeyPair, now: float) -> Token:
    """Return a token for requests that need one of these keys. Pure.

    Args:
        pair: of the service.
        now: in seconds of Unix.
    """
    end = int(now) + TOKEN_LIFE
    return Token(text=make_token(pair.primary, end), end=end, refresh=int(now) + TOKEN_REFRESH)


def make_keys(text: str | None, environ: Mapping[str, str]) -> KeyPair:
    """Return the keys that a user gives, and new ones for those not given.

    Args:
        text: of a file with one key a line; it goes before the environment.
        environ: may have PACKAGER_PRIMARY_KEY and PACKAGER_SECONDARY_KEY.

    Raises:
        UsageError: one cannot be a key.
    """
    try:
        if text is not None:
            given = dict(zip(NAMES, parse([text], "the key file"), strict=False))
        else:
            variables = zip(NAMES, VARIABLES, strict=True)
            given = {name: parse([environ[each]], each)[0] for name, each in variables if environ.get(each)}
    except KeysError as error:
        raise UsageError(str(error), remedy="`openssl rand -hex 32` makes one; leave it out to have one made") from None
    return KeyPair(primary=given.get("primary") or new_key(), secondary=given.get("secondary") or new_key())


def keys_for(
    package: Package, text: str | None, environ: Mapping[str, str], variables: Mapping[str, str]
) -> KeyPair | None:
    """Return the keys that requests to a package need; None where they need none.

    Args:
        package: an image, or what is laid down on this machine.
        text: as of `make_keys`.
        environ: as of `make_keys`.
        variables: that the server is given.

    Raises:
        UsageError: keys are given and it asks for none, or the variables take the keys' place.
    """
    if package.labels.get(AUTH_LABEL) != "key" and variables.get(AUTH) != "key":
        if text is not None:
            raise UsageError(
                f"{package.title} asks for no key",
                remedy="`service: {auth: key}` in its spec; or `server: {auth: key}`, and build it again",
            )
        return None
    for name in (GUNICORN_VARIABLE, KEYS_FILE, *VARIABLES):
        if name in variables:
            raise UsageError(
                f"-e {name} does not go with a service whose requests need keys",
                remedy="keys: --key-file FILE; gunicorn's settings: a file gunicorn.conf.py in the app",
            )
    return make_keys(text, environ)
