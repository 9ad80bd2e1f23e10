"""Looks up the addresses of hosts, so that slow names of one user delay nobody else.

Theory of operation: the system's look-up blocks its thread, and cannot be cancelled. So each look-up has a thread of
its own, and a user has at most `PER_USER` of them. A look-up that nobody waits for any longer counts until it ends.
"""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from threading import Thread
from weakref import WeakValueDictionary

PER_USER = 4  # how many look-ups of a user are made at the same time
AT_ONCE = 100  # how many of all users


class Resolver:
    """Looks up addresses."""

    def __init__(self) -> None:
        self._turns = WeakValueDictionary[str, asyncio.Semaphore]()  # a user has one only while it is in use
        self._all = asyncio.Semaphore(AT_ONCE)

    async def addresses(self, user: str, host: str, port: int) -> Sequence[str]:
        """Returns the addresses of a host for a user. If the host is an address, returns that address.

        Raises:
            OSError: the host is unknown.
            UnicodeError: it is no host name.
        """
        try:
            return [str(ip_address(host))]
        except ValueError:
            pass
        turn = self._turns.setdefault(user, asyncio.Semaphore(PER_USER))
        await turn.acquire()
        try:
            await self._all.acquire()
        except BaseException:
            turn.release()
            raise
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str]] = loop.create_future()

        def end(addresses: Sequence[str], failure: Exception | None) -> None:
            turn.release()
            self._all.release()
            if found.done():
                return
            if failure:
                found.set_exception(failure)
            else:
                found.set_result(addresses)

        def find() -> None:
            addresses, failure = list[str](), None
            try:
                every = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                addresses = list(dict.fromkeys(str(address[0]) for *_, address in every))
            except Exception as error:  # noqa: BLE001 - whoever waits gets it
                failure = error
            with suppress(RuntimeError):  # the event loop is closed: nobody waits
                loop.call_soon_threadsafe(end, addresses, failure)

        try:
            Thread(target=find, name="resolver", daemon=True).start()
        except RuntimeError as error:  # the system allows no more threads
            end([], OSError(str(error)))
        return await found
