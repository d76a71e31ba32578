"""The section [limits]: who may connect, and how much of everything there may be."""

from __future__ import annotations

from dataclasses import dataclass

from .forms import NETWORK
from .setting import Section, seconds, setting


@dataclass(frozen=True)
class Limits(Section):
    """Who may connect, and how much of everything there may be. One address is as many bits as the prefixes say."""

    connections: int = setting(
        0, "Connections at once, of all clients together. 0 = no limit.", unit="connections", at_least=0, live=True
    )
    handshakes: int = setting(
        0,
        "Connections at once that have not finished their handshake. 0 = no limit.",
        unit="connections",
        at_least=0,
        live=True,
    )
    address_connections: int = setting(
        0, "Connections at once from one address. 0 = no limit.", unit="connections", at_least=0, live=True
    )
    address_rate: float = setting(
        0.0,
        "New connections a second from one address, in the long run. 0 = no limit.",
        unit="connections a second",
        at_least=0,
        live=True,
    )
    address_burst: int = setting(
        20,
        "New connections that one address may make at once despite address_rate.",
        unit="connections",
        at_least=1,
        live=True,
    )
    address_failures: int = setting(
        0,
        "Handshakes a minute that one address may fail in, or leave unfinished; past that it is refused for a while. "
        "0 = no limit.",
        unit="handshakes a minute",
        at_least=0,
        live=True,
    )
    flap_count: int = setting(
        0,
        "When so many connections from one address were opened and ended within flap_secs, it is banned for ban_secs. "
        "0 = never.",
        unit="connections",
        at_least=0,
        live=True,
    )
    flap_secs: float = seconds(60.0, "The time for flap_count.", at_least=0.01, live=True)
    ban_secs: float = seconds(300.0, "How long an address is banned.", at_least=0.01, live=True)
    ipv4_prefix: int = setting(
        32,
        "How much of an IPv4 address counts as one address: 24 = all of x.y.z.*.",
        unit="bits",
        at_least=1,
        at_most=32,
        live=True,
    )
    ipv6_prefix: int = setting(
        64,
        "The same for IPv6. Whoever has one IPv6 address usually has its /64.",
        unit="bits",
        at_least=1,
        at_most=128,
        live=True,
    )
    allow: tuple[str, ...] = setting(
        (), "Networks that may connect, and no other; none = everybody may.", form=NETWORK, live=True
    )
    deny: tuple[str, ...] = setting(
        (), "Networks that may not connect, even if they are in allow.", form=NETWORK, live=True
    )
    table_size: int = setting(
        65536,
        "Addresses that are remembered for the limits of one address; those not connected go first, the oldest before "
        "the others.",
        unit="addresses",
        at_least=1,
        live=True,
    )
    memory_bytes: int = setting(
        0,
        "Memory for everything that is queued, for all clients and the master together. Past four fifths of it no new "
        "clients are let in, past all of it the largest queues are given up. 0 = half of what the machine, or the "
        "control group that the server runs in, has.",
        unit="bytes",
        at_least=0,
        live=True,
    )
    accept_rate: float = setting(
        0.0,
        "New connections a second, from everybody, and a second's worth at once after a quiet time. Who is too "
        "many is not refused but waits in the kernel's queue. 0 = no limit.",
        unit="connections a second",
        at_least=0,
        live=True,
    )
