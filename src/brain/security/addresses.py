"""Which network addresses a request on a model's behalf may reach: public ones only.

What is refused is where an Engine has friends and a stranger has none: loopback, private and
link-local networks, the metadata services of clouds, and every address that hides one of these
inside another (mapped, 6to4, Teredo, NAT64).
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_RESERVED: Final = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
"""Protocol assignments and 6to4 relays (RFC 6890): of some, Python says that they are global."""

_METADATA: Final = frozenset({IPv4Address("168.63.129.16")})
"""Metadata services at public addresses: Azure's (learn.microsoft.com, "What is IP address
168.63.129.16"). Those of the other clouds stand in networks that are not public.
"""


def is_public(address: str) -> bool:
    """Whether an address, as getaddrinfo writes it, belongs to the public internet."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return _is_public_v4(parsed)
    hidden = _hidden_in(parsed)
    if hidden is not None:
        return _is_public_v4(hidden)
    return parsed.is_global and not parsed.is_multicast and not parsed.is_site_local


def _is_public_v4(address: IPv4Address) -> bool:
    special = address in _METADATA or any(address in network for network in _RESERVED)
    return address.is_global and not address.is_multicast and not special


def _hidden_in(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that traffic to this one really goes to, or may."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    if any(address in network for network in _NAT64) or int(address) >> 32 == 0:
        return low  # ::a.b.c.d is the deprecated form of a mapped address
    return None
