"""What callers of two ancestors catch: `from translation_client.compat import aiohttp` in place of `import aiohttp`."""

from translation_client.core.errors import TransportError

ClientError = ClientConnectionError = TransportError
