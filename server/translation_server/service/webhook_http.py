"""Posts deliveries of webhooks. It is imported with the first of them, since httpx takes a while."""

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import httpx

MAX_ANSWER = 65_536  # how many bytes of an answer are read


class Answer(NamedTuple):
    """A receiver's answer; ``retry_after`` is its Retry-After header, or empty."""

    status: int
    body: bytes
    retry_after: str


class Http:
    """Posts to addresses that are already resolved, without redirects, proxies or kept connections.

    Args:
        timeout: how long a step of a request may take, in seconds.
    """

    def __init__(self, timeout: float) -> None:
        self._client = httpx.AsyncClient(
            trust_env=False, timeout=timeout, limits=httpx.Limits(max_connections=None, max_keepalive_connections=0)
        )

    async def post(
        self, url: str, address: str, headers: Mapping[str, str], body: bytes, cut_at: int | None = None
    ) -> Answer:
        """Posts a body to the address of a URL's host, or only its first ``cut_at`` bytes: then the connection ends.

        Raises:
            OSError: there was no answer.
        """
        host = httpx.URL(url)
        request = self._client.build_request(
            "POST",
            host.copy_with(host=address),
            content=body if cut_at is None else _cut_off(body[:cut_at]),
            headers={**headers, "host": host.netloc.decode(), "content-length": str(len(body))},
            extensions={"sni_hostname": host.host},
        )
        try:
            response = await self._client.send(request, stream=True)
            try:
                received = b""
                async for part in response.aiter_raw():
                    received += part
                    if len(received) > MAX_ANSWER:
                        break
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise OSError(str(error) or type(error).__name__) from error
        return Answer(response.status_code, received, response.headers.get("retry-after", ""))

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


async def _cut_off(beginning: bytes) -> AsyncIterator[bytes]:
    """Yields the beginning of a body, and then ends the connection."""
    yield beginning
    raise ConnectionAbortedError("the body was cut off")
