"""The networks that this machine, or its container, is part of."""

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

ROUTES = Path("/proc/net/route")  # Linux's table of IPv4 routes
WORD = "local-networks"  # the word for these networks in a setting


def hosts_of(name: str) -> Sequence[str]:
    """Returns the hosts that an entry of a list stands for: the networks for `WORD`, else the entry itself."""
    return local_networks() if name == WORD else [name]


def local_networks() -> Sequence[str]:
    """Returns the IPv4 networks that are reached without a gateway; none if the system does not list them."""
    try:
        lines = ROUTES.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return []
    routes = [line.split() for line in lines]
    direct = [(destination, mask) for _, destination, gateway, *_, mask, _, _, _ in routes if int(gateway, 16) == 0]
    return [f"{_address(destination)}/{_address(mask)}" for destination, mask in direct if int(mask, 16)]


def _address(text: str) -> str:
    """Returns the address in a hexadecimal number in the byte order of this machine."""
    return str(IPv4Address(struct.pack("=I", int(text, 16))))
