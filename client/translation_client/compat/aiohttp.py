"""The exceptions that users of two earlier systems catch; replaces `import aiohttp`."""

from translation_client.core.errors import TransportError

ClientError = ClientConnectionError = TransportError
