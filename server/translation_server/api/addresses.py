"""Where a request comes from: the address that counts, and the proxies that are believed about it."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

Address = IPv4Address | IPv6Address

NETWORK_BITS = 64
"""The part of an IPv6 address that its network gives; who has one such network has all the addresses in it."""

LONGEST_ADDRESS = 64
"""Characters of an address, with its port, its brackets and its zone."""

LONGEST_CHAIN = 2048
"""Bytes of X-Forwarded-For that are read, the last ones: those that the nearest proxies have written."""


def address_of(text: str) -> Address | None:
    """The address that a text holds, with or without a port; an IPv4 one for what is mapped into IPv6."""
    text = text.strip()
    if len(text) > LONGEST_ADDRESS:
        return None
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or not (port == "" or (port[0] == ":" and _is_port(port[1:]))):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(port):
            return None
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def caller(scope: Scope) -> str:
    """The name under which a request's sender is counted."""
    return _caller(scope["client"][0][: LONGEST_ADDRESS + 1]) if scope["client"] else "a local socket"


@lru_cache(maxsize=10_000)
def _caller(host: str) -> str:
    address = address_of(host)
    return counted_as(address) if address else "an unknown address"


def counted_as(address: Address) -> str:
    """The name under which an address is counted: its own, or that of its network for an IPv6 one."""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), NETWORK_BITS), strict=False))


class Proxies:
    """The proxies in front of the server, which are believed about whom they pass on.

    Args:
        trusted: their addresses and networks, separated by commas.
    """

    def __init__(self, trusted: str) -> None:
        networks = [ip_network(part.strip()) for part in trusted.split(",") if part.strip()]
        self.trusts = lru_cache(maxsize=10_000)(lambda address: any(address in network for network in networks))

    def heed(self, scope: Scope) -> None:
        """Has a request that a proxy passed on come from where the proxy says, and by the scheme that it says.

        Of X-Forwarded-For the last address counts that is no proxy's: what stands before it may be made up. Where
        something else than an address stands, the proxy that put it there counts.
        """
        client = scope["client"]
        address = address_of(client[0]) if client else None
        if address is None or not self.trusts(address):
            return
        chain = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        hops = chain[-LONGEST_CHAIN:].decode("latin-1").split(",")
        for hop in reversed(hops[1:] if len(chain) > LONGEST_CHAIN else hops):  # the first may be cut off
            before = address_of(hop)
            if before is None:
                break
            scope["client"] = (str(before), 0)
            if not self.trusts(before):
                break
        schemes = [value.strip() for name, value in scope["headers"] if name == b"x-forwarded-proto"]
        if schemes and schemes[-1] in {b"http", b"https"}:
            scope["scheme"] = schemes[-1].decode()


@lru_cache
def proxies_at(trusted: str) -> Proxies:
    """The proxies at these addresses and networks."""
    return Proxies(trusted)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit()
