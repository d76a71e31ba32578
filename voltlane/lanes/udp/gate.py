"""Which strangers may become clients by sending a datagram. Nothing is kept of who may not."""

from __future__ import annotations

from collections import OrderedDict
from typing import Callable, NamedTuple, Union

from ...address import Address
from ...config import Config
from ...core.admission import Admission, Source
from ...core.datagrams.cookies import Cookies
from ...core.datagrams.strangers import Strangers
from ...net.sockets import EVERYWHERE
from ...net.udp.loops import host_port, packed
from ...net.udp.names import Name
from ...net.udp.sockets import is_of_this_machine
from ...quality import validate_address
from ...reasons import CloseReason, DatagramDrop
from ...wire.datagram import COOKIE_LEAST, split_cookie, with_cookie

KICKED_SECS = 10.0
"""How long an address is no client again whose client was kicked: it does not know, and goes on sending."""
MOST_KICKED = 1024


class Cookie(NamedTuple):
    """What a stranger is answered, to be sent back."""

    words: bytes


class Admitted(NamedTuple):
    """It may come in."""

    source: Source
    packet: bytes
    """What it has sent, without a cookie, ..."""
    shown: bool
    """... and whether there was one."""


Verdict = Union[DatagramDrop, Cookie, Admitted]


class StrangerGate:
    """One server's."""

    def __init__(
        self, admission: Admission, config: Config, random: Callable[[int], bytes], now: float, own: list[Address]
    ) -> None:
        """`own`: where datagrams are received, which is nobody else's address."""
        self._admission = admission
        self._own = own
        udp, limits = config.udp, config.limits
        self._cookies = Cookies(random, now)
        self._asks = udp.cookie
        self._strangers = Strangers(udp.new_rate, udp.network_rate, limits.ipv4_prefix, limits.ipv6_prefix, random(32))
        self._kicked: OrderedDict[Name, float] = OrderedDict()  # until when

    def configure(self, config: Config) -> None:
        """Go by these settings from now on."""
        udp, limits = config.udp, config.limits
        self._asks = udp.cookie
        self._strangers.configure(udp.new_rate, udp.network_rate, limits.ipv4_prefix, limits.ipv6_prefix)

    def kicked(self, name: Name, now: float) -> None:
        """Its client was kicked."""
        while self._kicked and (len(self._kicked) >= MOST_KICKED or next(iter(self._kicked.values())) <= now):
            self._kicked.popitem(last=False)
        self._kicked[name] = now + KICKED_SECS

    def judge(self, name: Name, data: bytes, now: float) -> Verdict:
        """Whether who has sent this, from there, may be a client."""
        host, port = host_port(name)
        address = packed(name)
        if not self._can_be(host, port):
            return DatagramDrop.BAD_ADDRESS
        if self._asks:
            shown, packet = split_cookie(data) or (b"", b"")
            if not self._cookies.good(shown, address, port, now):
                if len(data) < COOKIE_LEAST:  # for three times that is not enough for one
                    return DatagramDrop.NO_COOKIE
                return Cookie(with_cookie(self._cookies.bake(address, port, now)))
            data = packet
        if self._kicked.get(name, now) > now:
            return DatagramDrop.NOT_ADMITTED
        if not self._strangers.network_may(address, now):
            return DatagramDrop.PREFIX_RATE
        if not self._strangers.may(now):
            return DatagramDrop.STRANGER_RATE
        answer = self._admission.admit(address, now)
        return DatagramDrop.NOT_ADMITTED if isinstance(answer, CloseReason) else Admitted(answer, data, self._asks)

    def _can_be(self, host: str, port: int) -> bool:
        """Whether a client can be there: at this machine, too, but not where we are ourselves, to send to which is to
        hear from it without end."""
        try:
            validate_address(host, port, local=True)
        except ValueError:
            return False
        return not any(port == own.port and _is_at(own.host, host) for own in self._own)


def _is_at(bound: str, host: str) -> bool:
    """Whether a socket that is bound there receives at this address of a peer."""
    return is_of_this_machine(host) if bound in EVERYWHERE else bound == host
