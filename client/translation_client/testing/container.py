"""A server in a container, for Testcontainers. It needs Docker and the server's image, but not the server's package."""

import secrets
from typing import Any

from translation_client.sandbox import Sandbox
from translation_client.version import __version__

try:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import HealthcheckWaitStrategy
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "TranslationContainer needs Testcontainers, which is not installed: run pip install 'testcontainers>=4.13'"
    ) from error

IMAGE = f"translation-server:{__version__}"
PORT = 8000  # in the container


class TranslationContainer(DockerContainer):
    """A server in a container, on a free port of the machine; `start` waits until its health check passes.

    Args:
        image: The image of the server.
        username: The name of its user.
        password: The user's password; by default a random one.
        settings: The server's settings in lower case: `scenario="flaky"`, `min_delay=1`.
        options: Further arguments of `DockerContainer`, such as `network` or `docker_client_kw`.

    Example:
        >>> with TranslationContainer(min_delay=1, max_delay=2) as server, server.sandbox() as sandbox:
        ...     with sandbox.client() as client:
        ...         print(client.run().state)
    """

    def __init__(
        self,
        image: str = IMAGE,
        *,
        username: str = "admin",
        password: str | None = None,
        options: dict[str, Any] | None = None,
        **settings: object,
    ) -> None:
        super().__init__(image, **(options or {}))
        self.username = username
        self.password = password or secrets.token_urlsafe(16)
        self.with_exposed_ports(PORT)
        self.with_env("API_USERNAME", self.username)
        self.with_env("API_PASSWORD", self.password)
        self.with_env("ALLOWED_HOSTS", "*")  # the host of a remote engine, and aliases in the container's networks
        for name, value in settings.items():
            self.with_env(name.upper(), str(value))
        self.waiting_for(HealthcheckWaitStrategy())

    @property
    def url(self) -> str:
        """The server's address on this machine; for other containers, it is port 8000 of the container's alias."""
        return f"http://{self.get_container_host_ip()}:{self.get_exposed_port(PORT)}"

    def sandbox(self) -> Sandbox:
        """Returns the sandbox of the container's user."""
        return Sandbox(self.url, username=self.username, password=self.password)
