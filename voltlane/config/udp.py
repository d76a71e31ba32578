"""The section [udp]: datagrams, beside a client's connection or in its place."""

from __future__ import annotations

from dataclasses import dataclass

from ..address import parse_address
from ..errors import ConfigError
from .forms import Form, one_of, shown
from .setting import Section, seconds, setting


def _place(text: str) -> str:
    if not text:
        return ""
    address = parse_address(text)
    if address.kind != "tcp" or not address.host or not address.port:
        raise ConfigError(f"{shown(text)} was given, {PLACE.allowed} is needed")
    return str(address)


PLACE = Form('host:port that clients can reach, or "" for what is listened on', "ADDRESS", _place)


@dataclass(frozen=True)
class Udp(Section):
    """Datagrams: addresses that begin with udp:// in listener.address."""

    mode: str = setting(
        "sessions",
        'What a datagram is. "sessions": clients of version 3 send and get datagrams beside their connection, sealed, '
        'and may move to other addresses. "open": each address and port that sends something is a client, and each '
        "datagram a packet, as it is: for programs that know nothing of this server.",
        form=one_of("sessions", "open"),
    )
    mtu: int = setting(1200, "Bytes of the largest datagram, either way.", unit="bytes", at_least=100, at_most=65507)
    as_data: bool = setting(
        False,
        "Whether a client's datagrams go to the master as ordinary packets where it has not asked for datagrams "
        "(master.datagrams). Otherwise they are dropped then.",
        live=True,
    )
    fallback: str = setting(
        "stream",
        'What becomes of the master\'s datagram for a client without a way of its own for them. "stream": it goes '
        'over its connection, as a packet. "drop": it is dropped.',
        form=one_of("stream", "drop"),
        live=True,
    )
    keepalive_secs: float = seconds(
        15.0,
        "After how long without a datagram of their own clients are to send one, so that routers on the way keep the "
        "way open. Whole seconds count.",
        at_least=1,
        at_most=3600,
        live=True,
    )
    advertise: str = setting(
        "",
        'Where clients are told to send their datagrams. "" = to the address that their connection goes to, at the '
        "port of the first udp:// address.",
        form=PLACE,
    )
    new_rate: float = setting(
        1000.0,
        "New clients a second, of all addresses together (open mode). 0 = no limit.",
        unit="clients a second",
        at_least=0,
        live=True,
    )
    network_rate: float = setting(
        100.0,
        "New clients a second from one address, as limits.ipv4_prefix and ..._ipv6_prefix have it (open mode). "
        "0 = no limit.",
        unit="clients a second",
        at_least=0,
        live=True,
    )
    peers: int = setting(
        65536, "Clients at once that came by a datagram (open mode).", unit="clients", at_least=1, live=True
    )
    idle_secs: float = seconds(
        60.0,
        "A client that came by a datagram and has sent none for so long is gone (open mode).",
        at_least=1,
        live=True,
    )
    cookie: bool = setting(
        False,
        "Whether a stranger has to send back what it is answered before it is a client (open mode). Programs that know "
        "nothing of it cannot come in then, and neither can senders of forged addresses.",
        live=True,
    )
    amplification: float = setting(
        0.0,
        "How many times the bytes that have come from a client it may be sent, in all, where it has shown no cookie "
        "(open mode): so nobody can have more than that sent to another's address. 0 = any number.",
        unit="times",
        at_least=0,
        live=True,
    )
    queue_bytes: int = setting(
        1024 * 1024,
        "Bytes of datagrams that may wait while the system takes no more; past that those go first whose links are "
        "worst.",
        unit="bytes",
        at_least=0,
        live=True,
    )
