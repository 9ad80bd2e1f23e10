"""Server and client in one process: `python examples/one_process.py`."""

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "server"), str(ROOT / "client")]  # works without installation

from translation_client import AsyncClient  # noqa: E402 - found by the line above
from translation_server import TranslationServer  # noqa: E402 - found by the line above


async def main() -> None:
    """Runs three jobs at once and prints each change."""
    async with TranslationServer(completion_time=2.0, error_rate=0.3) as server, AsyncClient(server.url) as client:
        jobs = (client.run(target_language=language, on_update=print) for language in ("es", "fr", "de"))
        finals = await asyncio.gather(*jobs)
    print(*(f"{final.id} ended as {final.state}" for final in finals), sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
