"""The address of a request's client, behind trusted proxies too, and the key under which it is counted."""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

Address = IPv4Address | IPv6Address
AUTHORITY = re.compile(rb"(?:[\w.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::\d{1,5})?", re.ASCII)
NETWORK_BITS = 64  # the length of an IPv6 network prefix. One client may have all addresses of such a network
MAX_ADDRESS = 64  # how many characters an address may have, with its port, its brackets and its zone
MAX_FORWARDED = 2048  # how many bytes of X-Forwarded-For are read: the last ones, which the nearest proxies wrote


def parse_address(text: str) -> Address | None:
    """Returns the address in a text, with or without a port. An IPv4 address mapped into IPv6 becomes IPv4."""
    text = text.strip()
    if len(text) > MAX_ADDRESS:
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


def base_url(scope: Scope) -> str:
    """Returns the scheme, the host and the mount under which the caller of a request reached the server."""
    headers = dict(scope["headers"])
    host: str = scope.get("forwarded_host") or headers.get(b"host", b"").decode("latin-1")
    if not host:  # HTTP/1.0
        name, port = scope["server"] or ("", None)
        host = "localhost" if port is None else f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    return f"{scope['scheme']}://{host}{scope['root_path']}"


def client_key(scope: Scope) -> str:
    """Returns the key under which the client of a request is counted."""
    return _key_of_host(scope["client"][0][: MAX_ADDRESS + 1]) if scope["client"] else "a local socket"


@lru_cache(maxsize=10_000)
def _key_of_host(host: str) -> str:
    address = parse_address(host)
    return address_key(address) if address else "an unknown address"


def address_key(address: Address) -> str:
    """Returns the key under which an address is counted: the address, or the network of an IPv6 address."""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), NETWORK_BITS), strict=False))


class Proxies:
    """The trusted proxies in front of the server: addresses and networks, separated by commas."""

    def __init__(self, trusted: str) -> None:
        networks = [ip_network(part.strip()) for part in trusted.split(",") if part.strip()]
        self.trusts = lru_cache(maxsize=10_000)(lambda address: any(address in network for network in networks))

    def apply_forwarded(self, scope: Scope) -> None:
        """Sets the client, the scheme and the host of a request to those that a trusted proxy forwards.

        The client is the last address in X-Forwarded-For that is not a trusted proxy; a client can forge all addresses
        before it. If this entry is not an address, the client is the proxy that added it.
        """
        client = scope["client"]
        address = parse_address(client[0]) if client else None
        if address is None or not self.trusts(address):
            return
        forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        hops = forwarded[-MAX_FORWARDED:].decode("latin-1").split(",")
        for hop in reversed(hops[1:] if len(forwarded) > MAX_FORWARDED else hops):  # the first may be incomplete
            before = parse_address(hop)
            if before is None:
                break
            scope["client"] = (str(before), 0)
            if not self.trusts(before):
                break
        hosts = [value.strip() for name, value in scope["headers"] if name == b"x-forwarded-host"]
        if hosts and AUTHORITY.fullmatch(host := hosts[-1].rpartition(b",")[2].strip()):
            scope["forwarded_host"] = host.decode()
        schemes = [value.strip() for name, value in scope["headers"] if name == b"x-forwarded-proto"]
        if schemes and schemes[-1] in {b"http", b"https"}:
            scope["scheme"] = schemes[-1].decode()


trusted_proxies = lru_cache(Proxies)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit()
