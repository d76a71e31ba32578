"""Sets of networks that are asked whether an address is in one of them. An address is packed: 4 or 16 bytes, as on the
wire; an IPv4 address in an IPv6 one (::ffff:192.0.2.1) is that IPv4 address."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Network, ip_address, ip_network

_MAPPED = bytes(10) + b"\xff\xff"


def plain(packed: bytes) -> bytes:
    """The address, taken out of the IPv6 one that stands for it."""
    return packed[12:] if len(packed) == 16 and packed.startswith(_MAPPED) else packed


def shown(packed: bytes, port: int) -> str:
    """An address and port as text."""
    address = ip_address(plain(packed))
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


def shown_network(packed: bytes, length: int) -> str:
    """A network as text; one of a single address as that address."""
    return f"{ip_address(packed)}{'' if length == len(packed) * 8 else f'/{length}'}"


def masks(ipv4_prefix: int, ipv6_prefix: int) -> dict[int, int]:
    """For `network_of`: by the size of an address, its bits that say which network it is in."""
    return {
        4: (1 << 32) - (1 << 32 - ipv4_prefix),
        16: (1 << 128) - (1 << 128 - ipv6_prefix),
    }


def network_of(packed: bytes, masks: dict[int, int]) -> bytes:
    """The address with its other bits left out."""
    size = len(packed)
    return (int.from_bytes(packed, "big") & masks[size]).to_bytes(size, "big")


class Networks:
    """Networks, written as text. Asking costs a look-up for each prefix length among them, however many there are."""

    __slots__ = ("_by_size",)

    def __init__(self, networks: Iterable[str]) -> None:
        prefixes: dict[int, dict[int, set[int]]] = {4: {}, 16: {}}  # {address size: {bits to drop: prefixes}}
        for text in networks:
            network = ip_network(text)
            size, length = network.max_prefixlen // 8, network.prefixlen
            packed = network.network_address.packed
            if isinstance(network, IPv6Network) and length >= 96 and len(plain(packed)) == 4:
                size, length, packed = 4, length - 96, plain(packed)
            dropped = size * 8 - length
            prefixes[size].setdefault(dropped, set()).add(int.from_bytes(packed, "big") >> dropped)
        self._by_size = {size: tuple(by_dropped.items()) for size, by_dropped in prefixes.items()}

    def __bool__(self) -> bool:
        return any(self._by_size.values())

    def __contains__(self, packed: bytes) -> bool:
        """Whether a plain packed address is in one of them."""
        number = int.from_bytes(packed, "big")
        return any(number >> dropped in networks for dropped, networks in self._by_size[len(packed)])
