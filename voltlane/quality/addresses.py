"""Whether a peer can be at an address."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

_BROADCAST = IPv4Address("255.255.255.255")


def validate_address(host: str, port: int, *, local: bool = False) -> IPv4Address | IPv6Address:
    """The address, if a peer of a relay can be there; an IPv4 address mapped into IPv6 is taken for what it is.

    Raises ValueError for what is no address (a name is none), for port 0 and those there are not, and for the loopback,
    unspecified, broadcast and multicast addresses: to relay to those is to talk to oneself, to nobody or to everybody.
    `local`: the relay listens on loopback itself, where its peers are, too.
    """
    if not 0 < port < 1 << 16:
        raise ValueError(f"port {port}: no peer is there; 1 to 65535 are possible")
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    for kind, is_that in (
        ("a loopback", address.is_loopback and not local),
        ("the unspecified", address.is_unspecified),
        ("the broadcast", address == _BROADCAST),
        ("a multicast", address.is_multicast),
    ):
        if is_that:
            raise ValueError(f"{host} is {kind} address: one peer's own is needed")
    return address
