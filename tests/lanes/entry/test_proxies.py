"""What proxies say in requests, and what follows from it: names, limits, and who may do without encryption."""

from __future__ import annotations

import socket
import struct
from types import ModuleType, SimpleNamespace

import pytest
from kit.lanes import ws
from kit.record_world import RecordClient
from kit.world import MakeWorld, Peer, World

from voltlane import config
from voltlane.core.admission import Source
from voltlane.reasons import CloseReason
from voltlane.wire.v3 import Code

pytest.importorskip("h11", reason="the extra `web` is not installed")

PROXY, OTHER = ("10.0.0.1", 7000), ("192.0.2.66", 7000)
BEHIND = {"listener.proxy_networks": "10.0.0.0/8", "web.forwarded": "x-forwarded-for"}
RFC = {**BEHIND, "web.forwarded": "forwarded"}
TLS = {"listener.proxy_tls": True}
PLAIN = b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n"


class Asking(Peer):
    """A connection over which requests come; what is answered is kept as it is."""

    def __init__(self, world: World, address: object = PROXY) -> None:
        super().__init__(world, 1 << 16)
        self.received = b""
        world.clients.append(self)  # type: ignore[arg-type]
        world.let_in(self, address, ws)

    def decode(self, data: bytes) -> list[bytes]:
        self.received += data
        return []

    def ask(self, *headers: str, upgrade: bool = False) -> int:
        """The status of the answer."""
        before = len(self.received)
        lines = "".join(f"{header}\r\n" for header in headers).encode()
        self.write(ws.request(*headers, subprotocol="") if upgrade else PLAIN % lines)
        self.world.settle()
        return int(self.received[before:].split(b" ", 2)[1])


def source_of(home: World) -> Source:
    (handler,) = [one for one in home.loop.handlers_at(0, home.loop.slots) if hasattr(one, "source")]
    assert isinstance(handler.source, Source)
    return handler.source


def peers(home: World) -> list[str]:
    return [connection.peer for connection in home.server.clients.connections]


NAMES = {
    "one": (BEHIND, ["X-Forwarded-For: 192.0.2.1"], "192.0.2.1:0"),
    "with its port": (BEHIND, ["X-Forwarded-For: 192.0.2.1:5000"], "192.0.2.1:5000"),
    "IPv6": (BEHIND, ["X-Forwarded-For: 2001:db8::1"], "[2001:db8::1]:0"),
    "the last": (BEHIND, ["X-Forwarded-For: 127.0.0.1, 192.0.2.1"], "192.0.2.1:0"),
    "in two headers": (BEHIND, ["X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: 192.0.2.1"], "192.0.2.1:0"),
    "behind another proxy": (BEHIND, ["X-Forwarded-For: 192.0.2.1, 10.9.9.9"], "192.0.2.1:0"),
    "nobody": (BEHIND, [], "10.0.0.1:7000"),
    "unknown": (BEHIND, ["X-Forwarded-For: unknown"], "10.0.0.1:7000"),
    "RFC 7239": (RFC, ['Forwarded: for="[2001:db8::1]:5000";proto=https'], "[2001:db8::1]:5000"),
    "the other header": (BEHIND, ["Forwarded: for=192.0.2.1"], "10.0.0.1:7000"),
    "and the other way round": (RFC, ["X-Forwarded-For: 192.0.2.1"], "10.0.0.1:7000"),
    "off": ({**BEHIND, "web.forwarded": "off"}, ["X-Forwarded-For: 192.0.2.1"], "10.0.0.1:7000"),
}


@pytest.mark.parametrize("name", NAMES)
def test_whose_it_is(make: MakeWorld, name: str) -> None:
    settings, headers, peer = NAMES[name]
    home = make(settings)
    assert Asking(home).ask(*headers, upgrade=True) == 101
    assert peers(home) == [peer]


@pytest.mark.parametrize("settings", [BEHIND, {**BEHIND, "limits.address_connections": 5}])
def test_from_anybody_else_it_means_nothing(make: MakeWorld, settings: dict[str, object]) -> None:
    home = make(settings)
    assert Asking(home, OTHER).ask("X-Forwarded-For: 192.0.2.1", upgrade=True) == 101
    assert peers(home) == ["192.0.2.66:7000"]


def test_a_unix_socket_is_a_proxys(make: MakeWorld) -> None:
    home = make(BEHIND)
    Asking(home, "").ask("X-Forwarded-For: 192.0.2.1", upgrade=True)
    assert peers(home) == ["192.0.2.1:0"]


def test_who_is_believed_changes_while_the_server_runs(make: MakeWorld) -> None:
    home = make(BEHIND)
    home.server.source = lambda: config.load(None, {}, {**BEHIND, "listener.proxy_networks": "192.0.2.0/24"})
    home.server.reload()
    Asking(home, PROXY).ask("X-Forwarded-For: 192.0.2.1", upgrade=True)
    Asking(home, OTHER).ask("X-Forwarded-For: 198.51.100.1", upgrade=True)
    assert sorted(peers(home)) == ["10.0.0.1:7000", "198.51.100.1:0"]


def test_a_header_with_a_mistake_is_refused(make: MakeWorld) -> None:
    home = make(RFC)
    peer = Asking(home)
    assert peer.ask('Forwarded: for=192.0.2.1;x=", for=192.0.2.2', upgrade=True) == 400
    assert peer.ended and home.server.counters.closed == {CloseReason.BAD_REQUEST: 1}
    assert Asking(home, OTHER).ask('Forwarded: for="', upgrade=True) == 101


# ---- limits


def test_limits_are_the_clients_and_not_the_proxys(make: MakeWorld) -> None:
    home = make({**BEHIND, "limits.address_connections": 1})
    for number in range(1, 6):
        assert Asking(home).ask(f"X-Forwarded-For: 192.0.2.{number}", upgrade=True) == 101
    again = Asking(home)
    assert again.ask("X-Forwarded-For: 192.0.2.1", upgrade=True) == 429 and again.ended
    assert home.server.counters.closed == {CloseReason.ADDRESS_FULL: 1}
    assert home.server.admission.connections == 5
    assert sorted(source.live for source in home.server.admission.sources.values()) == [1] * 5


@pytest.mark.parametrize(
    ("limits", "status", "reason"),
    [
        ({"limits.deny": "192.0.2.0/24"}, 403, CloseReason.ADDRESS_DENIED),
        ({"limits.address_rate": 1, "limits.address_burst": 1}, 429, CloseReason.ADDRESS_RATE),
    ],
)
def test_who_may_not_come_in_is_answered(
    make: MakeWorld, limits: dict[str, object], status: int, reason: CloseReason
) -> None:
    home = make({**BEHIND, **limits})
    if status == 429:
        assert Asking(home).ask("X-Forwarded-For: 192.0.2.1", upgrade=True) == 101
    peer = Asking(home)
    assert peer.ask("X-Forwarded-For: 192.0.2.1", upgrade=True) == status
    assert peer.ended and reason.value.encode() in peer.received
    assert home.server.counters.closed == {reason: 1}
    assert Asking(home).ask("X-Forwarded-For: 198.51.100.1", upgrade=True) == 101


def test_a_connection_that_is_denied_by_the_proxys_own_address_is_not(make: MakeWorld) -> None:
    home = make({**BEHIND, "limits.allow": "192.0.2.0/24"})
    assert Asking(home).ask("X-Forwarded-For: 192.0.2.1", upgrade=True) == 101


def test_one_connection_for_several_clients(make: MakeWorld) -> None:
    """A proxy sends what it likes over one: each request counts for whose it is, and only for as long as it is."""
    home = make({**BEHIND, "limits.address_connections": 1, "limits.flap_count": 1})
    peer = Asking(home)
    admission = home.server.admission
    assert peer.ask() == 426 and source_of(home).key == b"" and not admission.sources
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1"):
        assert peer.ask(f"X-Forwarded-For: {address}") == 426
        assert source_of(home).key == socket.inet_aton(address)
        assert sum(source.live for source in admission.sources.values()) == 1
    assert (admission.connections, admission.handshakes) == (1, 1)
    assert peer.ask("X-Forwarded-For: 192.0.2.3", upgrade=True) == 101
    assert peers(home) == ["192.0.2.3:0"] and (admission.connections, admission.handshakes) == (1, 0)
    assert not admission.banned_now(home.loop.now), "that a proxy goes on to another client is no flapping"
    peer.cut()
    home.settle()
    assert admission.connections == 0 and not any(source.live for source in admission.sources.values())


def test_a_proxy_protocols_header_has_no_place_there(make: MakeWorld) -> None:
    """One server may have both: TCP by the one, requests by the other."""
    home = make({**BEHIND, "listener.proxy_protocol": "required"})
    assert Asking(home).ask("X-Forwarded-For: 192.0.2.1", upgrade=True) == 101
    assert Asking(home, OTHER).ask("X-Forwarded-For: 192.0.2.1", upgrade=True) == 101
    assert sorted(peers(home)) == ["192.0.2.1:0", "192.0.2.66:7000"]
    client = RecordClient(home, address=PROXY, header=b"PROXY TCP4 192.0.2.9 192.0.2.9 5000 1\r\n")
    home.settle()
    assert client.ready and "192.0.2.9:5000" in peers(home)


# ---- who may do without encryption


def lane_with(*headers: str) -> ModuleType:
    """The lane of WebSockets, whose clients' proxy says this."""

    class Speaker(ws.Speaker):
        opening = ws.request(*headers, subprotocol="voltlane.v3")

    return SimpleNamespace(LANE=ws.LANE, Speaker=Speaker)  # type: ignore[return-value]


FROM = "X-Forwarded-For: 192.0.2.1"
HTTPS, HTTP = "X-Forwarded-Proto: https", "X-Forwarded-Proto: http"
LOCAL = ("127.0.0.1", 7000)
HERE = {**BEHIND, "listener.proxy_networks": "127.0.0.1"}
SUITES = {
    "over TLS": ({**BEHIND, **TLS}, PROXY, [FROM, HTTPS], True),
    "not over TLS": ({**BEHIND, **TLS}, PROXY, [FROM, HTTP], False),
    "it does not say": ({**BEHIND, **TLS}, PROXY, [FROM], False),
    "it does not say whose": ({**BEHIND, **TLS}, PROXY, [HTTPS], False),
    "one hop was, another was not": ({**BEHIND, **TLS}, PROXY, [FROM, "X-Forwarded-Proto: https, http"], False),
    "the operator has not said so": (BEHIND, PROXY, [FROM, HTTPS], False),
    "from somebody else": ({**BEHIND, **TLS}, OTHER, [FROM, HTTPS], False),
    "by RFC 7239": ({**RFC, **TLS}, PROXY, ["Forwarded: for=192.0.2.1;proto=https"], True),
    "not by RFC 7239": ({**RFC, **TLS}, PROXY, ["Forwarded: for=192.0.2.1;proto=http", HTTPS], False),
    "its own claim": ({**RFC, **TLS}, PROXY, ["Forwarded: for=192.0.2.9;proto=https, for=192.0.2.1"], False),
    "proxy and client here": (HERE, LOCAL, ["X-Forwarded-For: 127.0.0.1"], True),
    "the proxy alone is here": (HERE, LOCAL, [FROM], False),
    "the client says it is here": (HERE, LOCAL, ["X-Forwarded-For: 127.0.0.1, 192.0.2.1"], False),
    "the proxy is here and says nothing": (HERE, LOCAL, [], False),
    "the client is where the proxy is, which is elsewhere": (BEHIND, PROXY, ["X-Forwarded-For: 127.0.0.1"], False),
}


@pytest.mark.parametrize("name", SUITES)
def test_who_may_do_without_encryption(make: MakeWorld, name: str) -> None:
    settings, address, headers, allowed = SUITES[name]
    home = make(settings)
    client = RecordClient(home, suite=0, address=address, lane=lane_with(*headers))
    home.settle()
    assert client.ready is allowed
    if not allowed:
        assert client.endpoint.refusal == (Code.NO_SUITE, CloseReason.SUITE_REFUSED.value)


def binary(client: int | None) -> bytes:
    """A header of version 2 of the PROXY protocol, with what it says of TLS."""
    field = b"" if client is None else b"\x20\x00\x05" + bytes([client]) + bytes(4)
    body = socket.inet_aton("192.0.2.1") * 2 + struct.pack("!HH", 5000, 1) + field
    return bytes.fromhex("0d0a0d0a000d0a515549540a") + struct.pack("!BBH", 0x21, 0x11, len(body)) + body


@pytest.mark.parametrize(
    ("client", "said", "allowed"),
    [(1, True, True), (1, False, False), (0, True, False), (None, True, False)],
    ids=["over TLS", "the operator has not said so", "not over TLS", "it does not say"],
)
def test_by_the_proxy_protocol(make: MakeWorld, client: int | None, said: bool, allowed: bool) -> None:
    required = {"listener.proxy_protocol": "required", "listener.proxy_networks": "10.0.0.0/8"}
    home = make({**required, "listener.proxy_tls": said})
    connection = RecordClient(home, suite=0, address=PROXY, header=binary(client))
    home.settle()
    assert connection.ready is allowed


def test_the_page_is_the_hosts_that_was_asked_whatever_a_proxy_says_of_it(make: MakeWorld) -> None:
    """X-Forwarded-Host is not looked at."""
    home = make(BEHIND)
    right, wrong = "Origin: https://server.example.com", "Origin: https://inside.example"
    assert Asking(home).ask(FROM, right, "X-Forwarded-Host: inside.example", upgrade=True) == 101
    assert Asking(home).ask(FROM, wrong, "X-Forwarded-Host: inside.example", upgrade=True) == 403
