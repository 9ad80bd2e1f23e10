"""Clients that hang up while they wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect
from starlette.types import Receive


@asynccontextmanager
async def leaving_with_the_client(receive: Receive) -> AsyncIterator[None]:
    """Ends what runs within it when the client hangs up.

    Raises:
        ClientDisconnect: it did.
    """
    gone = False

    async def watch(task: "asyncio.Task[object] | None") -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        if task is not None:
            task.cancel()

    watching = asyncio.create_task(watch(asyncio.current_task()))
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        raise ClientDisconnect from None
    finally:
        watching.cancel()
