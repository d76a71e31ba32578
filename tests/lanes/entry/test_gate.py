"""The gate in front of a whole server: who comes in, what a refusal costs, and headers of proxies."""

from __future__ import annotations

import socket
import struct

import pytest
from kit.handlers import Loop
from kit.record_world import enter, refused, told
from kit.world import CLIENT_KEY, Client, MakeWorld, World

from voltlane.config import Limits, Listener, Web
from voltlane.core.admission import Admission
from voltlane.core.counters import Counters
from voltlane.lanes.connection_log import ConnectionLog
from voltlane.lanes.entry.gate import Gate
from voltlane.lanes.entry.proxies import Proxies
from voltlane.lanes.table import TCP
from voltlane.reasons import CloseReason
from voltlane.wire.crypto import seal
from voltlane.wire.framing import frame
from voltlane.wire.v2 import ChallengeResponse, ProtocolVersion, PubKey, encode
from voltlane.wire.v3 import Code

HERE, THERE = ("192.0.2.1", 5000), ("192.0.2.2", 5000)
PROXY = ("10.0.0.1", 7000)
PROXIED = {"listener.proxy_protocol": "required", "listener.proxy_networks": "10.0.0.0/8"}
V2 = bytes.fromhex("0d0a0d0a000d0a515549540a")
HELLO = b"".join(frame(encode(packet)) for packet in (ProtocolVersion(2), PubKey(CLIENT_KEY.public)))


def line(address: str = "192.0.2.1", port: int = 5000) -> bytes:
    """A header of version 1."""
    return f"PROXY TCP{6 if ':' in address else 4} {address} {address} {port} 1\r\n".encode()


def binary(address: str = "192.0.2.1", port: int = 5000, behind: bytes = b"") -> bytes:
    """A header of version 2."""
    body = socket.inet_aton(address) * 2 + struct.pack("!HH", port, 1) + behind
    return V2 + struct.pack("!BBH", 0x21, 0x11, len(body)) + body


def counts(home: World) -> tuple[int, int]:
    return home.server.admission.connections, home.server.admission.handshakes


def closed(home: World) -> dict[CloseReason, int]:
    return dict(home.server.counters.closed)


# ---- counting


def test_counts_go_up_and_down_once(make: MakeWorld):
    home = make()
    assert counts(home) == (0, 0)
    stranger = Client(home, address=HERE)
    assert counts(home) == (1, 1)
    client = home.new(address=HERE)
    assert counts(home) == (2, 1)
    again = home.resume(client, address=HERE)
    assert counts(home) == (2, 1), "taken over: the old connection is gone"
    home.master.kick(again.id)
    home.settle()
    assert counts(home) == (1, 1)
    stranger.write(frame(b"\x77"))
    home.settle()
    assert counts(home) == (0, 0)
    assert closed(home) == {
        CloseReason.TAKEN_OVER: 1,
        CloseReason.KICKED: 1,
        CloseReason.MALFORMED_PACKET: 1,
    }


def test_a_client_that_overflows_is_counted_out_once(make: MakeWorld):
    home = make({"clients.outbox_bytes": 50_000})
    client = home.new(address=HERE)
    client.reading = False
    home.master.send(client.id, *[bytes(1000)] * 400)
    home.settle()
    assert closed(home) == {CloseReason.OUTBOX_FULL: 1}
    assert counts(home) == (0, 0)


@pytest.mark.parametrize(("settings", "address"), [({}, HERE), (PROXIED, PROXY)], ids=["client", "proxy"])
def test_a_connection_that_cannot_be_watched_is_counted_out(
    make: MakeWorld, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], address: object
):
    home = make({"limits.address_connections": 5, **settings})

    def add(fd: int) -> None:
        raise OSError("no watches left")

    theirs, ours = socket.socketpair()
    with theirs, ours, monkeypatch.context() as patch:
        patch.setattr(home.loop.poller, "add", add)
        with pytest.raises(OSError, match="no watches left"):
            home.server.gate.accept(theirs, address, TCP)
    assert counts(home) == (0, 0) and home.server.admission.sources == {}


# ---- refusing


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"limits.connections": 1}, CloseReason.SERVER_FULL),
        ({"limits.handshakes": 1}, CloseReason.TOO_MANY_HANDSHAKES),
        ({"limits.address_connections": 1}, CloseReason.ADDRESS_FULL),
        ({"limits.address_rate": 1, "limits.address_burst": 1}, CloseReason.ADDRESS_RATE),
        ({"limits.deny": "192.0.2.0/24"}, CloseReason.ADDRESS_DENIED),
        ({"limits.allow": "10.0.0.0/8"}, CloseReason.ADDRESS_DENIED),
        (PROXIED, CloseReason.PROXY_UNTRUSTED),
    ],
)
def test_a_refused_connection_is_never_watched(make: MakeWorld, monkeypatch, caplog, settings, reason: CloseReason):
    """It is reset at once: nothing is registered, no timer is started, no object is kept."""
    home = make(settings)
    if reason not in (CloseReason.ADDRESS_DENIED, CloseReason.PROXY_UNTRUSTED):
        Client(home, address=HERE)
    before = (home.loop.watched, home.loop.timers, counts(home))
    added: list[int] = []
    monkeypatch.setattr(home.loop.poller, "add", added.append)
    caplog.set_level("INFO", "voltlane")
    for _ in range(50):
        theirs, ours = socket.socketpair()
        home.server.gate.accept(theirs, HERE, TCP)
        assert theirs.fileno() == -1, "closed before the turn goes on"
        ours.close()
    assert (home.loop.watched, home.loop.timers, counts(home)) == before and added == []
    assert not home.loop._closes and not home.loop._tasks
    assert closed(home)[reason] == 50 and home.server.counters.accepted == before[2][0]
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == f"192.0.2.1:5000: {reason.value}" and len(lines) == 20


def test_a_refused_connection_is_reset(tmp_path):
    """Over TCP: the peer hears of it at once, and nothing stays behind."""
    loop, counters = Loop(), Counters()
    admission = Admission(Limits(deny="127.0.0.0/8"))  # type: ignore[arg-type]
    proxies = Proxies(loop, admission, Listener(), Web())
    gate = Gate(loop, admission, ConnectionLog(loop, counters), lambda *_: None, proxies)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(3):
            with socket.create_connection(listening.getsockname(), timeout=5) as client:
                gate.accept(*listening.accept(), TCP)
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
    assert counters.closed == {CloseReason.ADDRESS_DENIED: 3}
    loop.expect_clean()


def test_places_come_free_again(make: MakeWorld):
    home = make({"limits.connections": 2, "limits.address_connections": 1})
    one, two = home.new(address=HERE), home.new(address=THERE)
    assert Client(home, address=("192.0.2.3", 1)).theirs.fileno() == -1
    one.cut()
    home.settle()
    assert Client(home, address=THERE).theirs.fileno() == -1
    three = home.new(address=HERE)
    two.cut()
    three.cut()
    home.settle()
    assert closed(home)[CloseReason.ADDRESS_FULL] == closed(home)[CloseReason.SERVER_FULL] == 1
    home.new(address=THERE)


def test_failed_handshakes(make: MakeWorld):
    home = make({"limits.address_failures": 3, "clients.handshake_secs": 2})
    Client(home, address=HERE).write(frame(b"\x77"))
    Client(home, address=HERE).cut()
    Client(home, address=HERE)
    client = home.new(address=HERE)
    home.pass_(3)
    assert closed(home) == {
        CloseReason.MALFORMED_PACKET: 1,
        CloseReason.PEER_CLOSED: 1,
        CloseReason.HANDSHAKE_TIMEOUT: 1,
    }
    assert Client(home, address=HERE).theirs.fileno() == -1
    assert closed(home)[CloseReason.ADDRESS_FAILURES] == 1
    home.new(address=THERE)
    client.send(b"who is in stays in")
    home.settle()
    assert home.master.data[client.id] == [b"who is in stays in"]
    home.pass_(21)
    home.new(address=HERE)


def test_a_wrong_proof_is_a_failed_handshake(make: MakeWorld):
    home = make({"limits.address_failures": 1})
    owner = home.new(address=THERE)

    class Thief(Client):
        def on_challenge(self) -> None:
            self.say(ChallengeResponse(seal(bytes(32), bytes(32))))

    thief = Thief(home, resumes=owner, address=HERE)
    thief.greet()
    home.settle()
    assert closed(home) == {CloseReason.BAD_PROOF: 1}
    assert Client(home, address=HERE).theirs.fileno() == -1
    home.resume(owner, address=THERE)


def test_so_is_one_of_version_3(make: MakeWorld):
    home = make({"limits.address_failures": 1})
    owner = enter(home, address=THERE)
    owner.cut()
    guessed = owner.session.copy()
    guessed.secret = bytes(32)
    thief = refused(home, guessed, address=HERE)
    assert told(thief).code == Code.BAD_PROOF and closed(home)[CloseReason.BAD_PROOF] == 1
    assert Client(home, address=HERE).theirs.fileno() == -1
    assert enter(home, owner.session, address=THERE).session.id == owner.session.id


class Watching:
    """A watcher that keeps what it hears of bans."""

    def __init__(self) -> None:
        self.bans: list[tuple[str, float]] = []

    def banned(self, network: str, seconds: float) -> None:
        self.bans.append((network, seconds))

    def here(self, client_id: int, peer: str, resumed: bool) -> None:
        """They are not what is looked at."""

    def gone(self, client_id: int, peer: str, reason: CloseReason, detail: str) -> None:
        """Nor these."""


def test_flapping(make: MakeWorld, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "voltlane")
    home = make({"limits.flap_count": 3, "limits.flap_secs": 10, "limits.ban_secs": 30})
    watching = home.server.connection_log.watcher = Watching()  # type: ignore[assignment]
    for _ in range(3):
        home.new(address=HERE).cut()
        home.settle()
    assert Client(home, address=HERE).theirs.fileno() == -1
    assert closed(home) == {CloseReason.PEER_CLOSED: 3, CloseReason.ADDRESS_BANNED: 1}
    assert watching.bans == [("192.0.2.1", 30)]
    assert caplog.text.count("192.0.2.1 is banned for 30 s") == 1
    home.new(address=THERE)
    home.pass_(31)
    home.new(address=HERE)


def test_a_unix_socket_has_no_address_to_be_limited(make: MakeWorld):
    home = make({"limits.address_connections": 1, "limits.allow": "10.0.0.0/8", "limits.connections": 4})
    for address in ("", "/some/path", b"\0abstract", ""):
        home.new(address=address)
    assert Client(home, address="").theirs.fileno() == -1
    assert closed(home) == {CloseReason.SERVER_FULL: 1}


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (("192.0.2.1", 5000), "192.0.2.1:5000"),
        (("2001:db8::1", 5000, 0, 0), "[2001:db8::1]:5000"),
        (("::ffff:192.0.2.1", 5000, 0, 0), "192.0.2.1:5000"),
        (("fe80::1%eth0", 5000, 0, 3), "[fe80::1%eth0]:5000"),
        ("", "a local client"),
    ],
)
def test_the_log_names_who_it_was_even_when_the_peer_is_gone(make: MakeWorld, caplog, address: object, name: str):
    home = make({"clients.handshake_secs": 1, "limits.address_connections": 9})
    client = Client(home, address=address)
    client.write(frame(b"\x77"))
    client.sock.close()
    client.closed = True
    caplog.set_level("INFO", "voltlane")
    home.settle()
    assert f"{name}: {CloseReason.MALFORMED_PACKET.value}" in caplog.text


# ---- behind a proxy


@pytest.fixture
def behind(make: MakeWorld) -> World:
    return make({**PROXIED, "limits.deny": "198.51.100.0/24"})


def proxied(home: World, header: bytes, address: object = PROXY) -> Client:
    client = Client(home, address=address)
    client.write(header)
    home.settle()
    return client


HEADERS = {"v1": line(), "v2": binary(), "v2 with more": binary(behind=b"\x04\x00\x03abc")}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_what_is_behind_the_header_is_the_handshakes(behind: World, header: bytes):
    client = proxied(behind, header + HELLO + frame(b"first"))
    assert client.ready
    assert behind.master.data[client.id] == [b"first"]
    (connection,) = behind.server.clients.connections
    assert connection.peer == "192.0.2.1:5000"


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_one_byte_at_a_time(behind: World, header: bytes):
    client = Client(behind, address=PROXY)
    for byte in header + HELLO + frame(b"first"):
        client.write(bytes([byte]))
        behind.loop.turn(0)
    behind.settle()
    assert client.ready and behind.master.data[client.id] == [b"first"]


@pytest.mark.parametrize("cut", [1, 7, 20, len(line()) - 1])
def test_an_end_within_the_header(behind: World, cut: int):
    client = proxied(behind, line()[:cut])
    assert behind.connected() == 1 and counts(behind) == (1, 1)
    client.cut()
    behind.settle()
    assert closed(behind) == {CloseReason.PEER_CLOSED: 1} and behind.server.counters.accepted == 0
    other = Client(behind, address=PROXY)
    other.write(line()[:cut])
    other.cut()
    behind.settle()
    assert closed(behind) == {CloseReason.PEER_CLOSED: 2}


def test_an_end_right_behind_the_header(behind: World):
    client = Client(behind, address=PROXY)
    client.write(line())
    client.cut()
    behind.settle()
    assert closed(behind) == {CloseReason.PEER_CLOSED: 1} and behind.server.counters.accepted == 1


def test_no_header_in_time(behind: World, caplog):
    caplog.set_level("INFO", "voltlane")
    silent, slow = Client(behind, address=PROXY), proxied(behind, line()[:-1])
    behind.pass_(2.5)
    assert counts(behind) == (2, 2)
    behind.pass_(1)
    assert closed(behind) == {CloseReason.PROXY_TIMEOUT: 2}
    assert silent.ended and slow.ended and counts(behind) == (0, 0)
    assert f"10.0.0.1:7000: {CloseReason.PROXY_TIMEOUT.value}" in caplog.text


def test_a_client_that_comes_directly_is_told_apart_at_once(behind: World):
    client = proxied(behind, HELLO)
    assert client.ended and closed(behind) == {CloseReason.PROXY_MALFORMED: 1}
    assert counts(behind) == (0, 0)


@pytest.mark.parametrize("stranger", [("11.0.0.1", 1), ("::1", 1, 0, 0), ("::ffff:11.0.0.1", 1, 0, 0)])
def test_nobody_else_may_say_who_he_is(behind: World, stranger: object):
    client = Client(behind, address=stranger)
    assert client.theirs.fileno() == -1
    assert closed(behind) == {CloseReason.PROXY_UNTRUSTED: 1}


@pytest.mark.parametrize("proxy", [PROXY, ("::ffff:10.1.1.1", 1, 0, 0), ""])
def test_proxies_are_trusted_and_unix_sockets(behind: World, proxy: object):
    assert proxied(behind, line() + HELLO, proxy).ready


def test_limits_and_logs_use_the_address_in_the_header(make: MakeWorld, caplog):
    caplog.set_level("INFO", "voltlane")
    home = make({**PROXIED, "limits.address_connections": 1, "limits.deny": "198.51.100.0/24", "limits.handshakes": 3})
    assert proxied(home, line("192.0.2.1", 1) + HELLO).ready
    assert proxied(home, line("192.0.2.1", 2) + HELLO).ended
    assert proxied(home, binary("192.0.2.2", 3) + HELLO).ready
    assert proxied(home, line("198.51.100.9", 4) + HELLO).ended
    assert proxied(home, line("2001:db8::1", 5) + HELLO).ready
    assert proxied(home, line("2001:db8::2", 6) + HELLO).ended
    proxied(home, line("192.0.2.7", 7) + frame(b"\x77"))
    assert closed(home) == {
        CloseReason.ADDRESS_FULL: 2,
        CloseReason.ADDRESS_DENIED: 1,
        CloseReason.MALFORMED_PACKET: 1,
    }
    assert f"192.0.2.1:2: {CloseReason.ADDRESS_FULL.value}" in caplog.text
    assert f"198.51.100.9:4: {CloseReason.ADDRESS_DENIED.value}" in caplog.text
    assert f"[2001:db8::2]:6: {CloseReason.ADDRESS_FULL.value}" in caplog.text
    assert f"192.0.2.7:7: {CloseReason.MALFORMED_PACKET.value}" in caplog.text
    assert "10.0.0.1" not in caplog.text
    assert counts(home) == (3, 0)


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", V2 + b"\x20\x00\x00\x00", V2 + b"\x21\x00\x00\x00"])
def test_the_proxies_own_connections_have_their_name_and_only_the_totals_count(make: MakeWorld, header: bytes):
    """Health checks: many, short, from one address. They must not get the proxy banned."""
    home = make({**PROXIED, "limits.address_connections": 1, "limits.flap_count": 1, "limits.connections": 3})
    for _ in range(5):
        proxied(home, header).cut()
        home.settle()
    for _ in range(3):
        assert proxied(home, header + HELLO).ready
    assert {connection.peer for connection in home.server.clients.connections} == {"10.0.0.1:7000"}
    assert Client(home, address=PROXY).theirs.fileno() == -1
    assert closed(home)[CloseReason.SERVER_FULL] == 1


def test_headers_that_do_not_come_count_as_handshakes(make: MakeWorld):
    home = make({**PROXIED, "limits.handshakes": 2})
    first, _ = Client(home, address=PROXY), Client(home, address=PROXY)
    assert Client(home, address=PROXY).theirs.fileno() == -1
    assert closed(home) == {CloseReason.TOO_MANY_HANDSHAKES: 1}
    first.write(line() + HELLO)
    home.settle()
    assert first.ready and counts(home) == (2, 1)


def test_a_server_that_stops_waits_for_no_header(make: MakeWorld):
    home = make(PROXIED)
    waiting = Client(home, address=PROXY)
    home.server._on_stop()
    home.settle()
    assert waiting.ended and closed(home)[CloseReason.SHUTDOWN] == 1
    assert len(home.server.arrivals) == 0 and counts(home) == (0, 0)
