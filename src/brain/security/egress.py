"""The network policy: which hosts may be reached without a person's word."""

import ipaddress
from collections.abc import Iterable

from msgspec import Struct


class NetworkPolicy(Struct, frozen=True):
    """Hosts that are allowed: names, `*.` and a name for all below it, addresses and networks.

    It is a rule for asking, not a wall: what keeps a command from the network is the sandbox.
    """

    allowed: tuple[str, ...]

    def permits(self, host: str) -> bool:
        """Whether this host, a name or an address, is allowed. Names are compared without case."""
        plain = host.strip("[]").rstrip(".").lower()
        return any(_covers(one.lower(), plain) for one in self.allowed)


def policy_of(allowed: Iterable[str]) -> NetworkPolicy | None:
    """The policy of the setting NETWORK_ALLOW; None when it is not set."""
    hosts = tuple(allowed)
    return NetworkPolicy(hosts) if hosts else None


def _covers(allowed: str, host: str) -> bool:
    if allowed.startswith("*."):
        return host.endswith(allowed[1:])
    if "/" in allowed or host[:1].isdigit() or ":" in host:
        return _within(allowed, host)
    return allowed == host


def _within(allowed: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(allowed, strict=False)
    except ValueError:
        return allowed == host
