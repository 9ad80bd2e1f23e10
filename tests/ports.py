"""Free ports for servers that are told their port."""

import atexit
import random
import socket
from contextlib import ExitStack

_reservations = ExitStack()
atexit.register(_reservations.close)


def free_port() -> int:
    """Returns a port on which nobody listens, and which no other test gets until this process ends.

    It is outside the ephemeral range, so the system gives it to nobody while its server starts or restarts. Tests in
    other processes pass over it too: the UDP port of the same number is taken until then.
    """
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with ExitStack() as stack, socket.socket() as probe:
            reservation = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            try:
                reservation.bind(("127.0.0.1", port))
            except OSError:
                continue
            if probe.connect_ex(("127.0.0.1", port)):
                _reservations.push(stack.pop_all())
                return port
    raise AssertionError("no free port was found")
