"""Who asks Azure: taken as it is given, and asked by nobody. No credential is kept, shown or sent."""

from __future__ import annotations

from typing import Any

from packager.azureml.calling import not_here


class AbstractAuthentication:
    """Somebody who would be let in by Azure.

    Args:
        cloud: is not used.
    """

    def __init__(self, cloud: str | None = None) -> None:
        """Take it, and keep nothing."""

    def get_authentication_header(self) -> dict[str, str]:
        """Refuse.

        Raises:
            AzureMLException: always: there is no Azure to be let in.
        """
        not_here("an authentication header", "leave it out: services of this machine have keys (get_keys())")

    def get_token(self, *scopes: str, **kwargs: Any) -> Any:
        """Refuse; see `get_authentication_header`."""
        not_here("a token of Azure", "leave it out")

    def signed_session(self, session: Any = None) -> Any:
        """Refuse; see `get_authentication_header`."""
        not_here("a session of Azure", "leave it out")


class InteractiveLoginAuthentication(AbstractAuthentication):
    """A person at a browser: none is opened."""

    def __init__(self, force: bool = False, tenant_id: str | None = None, cloud: str | None = None) -> None:
        super().__init__(cloud)


class AzureCliAuthentication(AbstractAuthentication):
    """Whoever `az login` let in."""


class ServicePrincipalAuthentication(AbstractAuthentication):
    """A program with a password, which is not kept."""

    def __init__(
        self,
        tenant_id: str,
        service_principal_id: str,
        service_principal_password: str,
        cloud: str | None = "AzureCloud",
        _enable_caching: bool = True,
    ) -> None:
        super().__init__(cloud)


class MsiAuthentication(AbstractAuthentication):
    """A machine of Azure."""

    def __init__(self, cloud: str | None = None, **kwargs: Any) -> None:
        super().__init__(cloud)
