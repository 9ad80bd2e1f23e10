"""Client disconnects."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect
from starlette.types import Receive


@asynccontextmanager
async def cancelled_on_disconnect(receive: Receive) -> AsyncIterator[None]:
    """Cancels its body when the client disconnects.

    Raises:
        ClientDisconnect: the client has disconnected.
    """
    disconnected = False

    async def watch(task: "asyncio.Task[object] | None") -> None:
        nonlocal disconnected
        while (await receive())["type"] != "http.disconnect":
            pass
        disconnected = True
        if task is not None:
            task.cancel()

    watching = asyncio.create_task(watch(asyncio.current_task()))
    try:
        yield
    except asyncio.CancelledError:
        if not disconnected:
            raise
        raise ClientDisconnect from None
    finally:
        watching.cancel()
