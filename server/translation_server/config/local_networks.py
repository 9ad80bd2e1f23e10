"""The networks that this machine, or its container, is part of."""

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

ROUTES = Path("/proc/net/route")  # Linux's table of IPv4 routes
WORD = "local-networks"  # what stands for these networks in a setting


def hosts_of(name: str) -> Sequence[str]:
    """Returns what a name in a list of hosts stands for: itself, unless it is `WORD`."""
    return local_networks() if name == WORD else [name]


def local_networks() -> Sequence[str]:
    """Returns the IPv4 networks that are reached without a gateway; none where the system does not tell them."""
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
