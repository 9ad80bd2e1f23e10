"""uvicorn's server for tests, which start and stop many."""

import asyncio
import socket

import uvicorn


class QuickServer(uvicorn.Server):
    """A server that stops at once. uvicorn itself checks only every tenth of a second whether to stop."""

    async def main_loop(self) -> None:
        """Runs until the server is told to stop."""
        await self.on_tick(0)
        while not self.should_exit:  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.005)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops; it waits only if there is something to wait for."""
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await self.lifespan.shutdown()
