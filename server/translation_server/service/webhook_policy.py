"""Where webhooks may go: to this machine, and to the hosts and networks that the operator has named.

The addresses of a host name are checked for each attempt, so a name that changes its addresses cannot lead into a
network that was not named.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SCHEMES = ("http", "https")
PRINTABLE = re.compile(r"[!-~]+")  # ASCII without spaces and control characters


class UnusableUrl(ValueError):  # noqa: N818 - says what is wrong with it
    """A webhook cannot be delivered to a URL. The message says what it must be."""


def split_url(url: str) -> SplitResult:
    """Returns the parts of a webhook's URL.

    Raises:
        UnusableUrl: it is no URL to which a webhook can be delivered.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in SCHEMES and parts.hostname and parts.port != 0 and PRINTABLE.fullmatch(url)
    except ValueError:
        usable = False
    if not usable:
        raise UnusableUrl("must be a URL that begins with http:// or https://, in printable ASCII")
    if parts.username is not None or parts.password is not None:
        raise UnusableUrl("must not hold a user name or a password")
    return parts


@dataclass(frozen=True, slots=True)
class WebhookPolicy:
    """The hosts and addresses to which webhooks are delivered, besides the loopback interface."""

    hosts: frozenset[str] = frozenset()  # names whose addresses are all allowed, in lower case
    networks: Sequence[Network] = field(default=())

    @classmethod
    def of(cls, names: Iterable[str]) -> "WebhookPolicy":
        """Returns the policy for a list of host names, addresses and networks."""
        hosts, networks = set[str](), list[Network]()
        for name in names:
            try:
                networks.append(ip_network(name))
            except ValueError:
                hosts.add(name.lower().rstrip("."))
        return cls(frozenset(hosts), tuple(networks))

    def allows(self, host: str, address: str) -> bool:
        """Whether webhooks for a host are delivered to one of its addresses."""
        found = ip_address(address.partition("%")[0])
        if isinstance(found, IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        named = host.lower().rstrip(".") in self.hosts
        return found.is_loopback or named or any(found in network for network in self.networks)
