"""A real server with each limit on who may come in: who breaks it is refused by name, and others are served."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Callable, NamedTuple

import pytest
from kit.process import ServerProcess, Settings
from kit.raw_client import VERSION, RawClient, frame, public_key, shared_keys
from kit.rig import Rig, running
from kit.wait import wait_until

from voltlane.reasons import CloseReason

HERE, THERE = "127.0.0.1", "127.0.0.2"
NONSENSE = frame(b"\x77")
PROXIED = {"listener.proxy_protocol": "required", "listener.proxy_networks": "127.0.0.1"}
V2 = bytes.fromhex("0d0a0d0a000d0a515549540a")


class Caller:
    """A connection from an address of one's choice."""

    def __init__(self, rig: Rig, source: str = HERE, says: bytes = b"") -> None:
        host, _, port = rig.server.address.rpartition(":")
        self.sock = socket.socket()
        rig._clients.callback(self.sock.close)
        self.sock.settimeout(10)
        self.sock.bind((source, 0))
        self.name = "{}:{}".format(*self.sock.getsockname())
        self.reset = False
        try:
            self.sock.connect((host, int(port)))
            self.sock.sendall(says)
        except (ConnectionResetError, BrokenPipeError):
            self.reset = True

    def is_let_in(self) -> bool:
        """Make the handshake; whether that worked."""
        hello = VERSION + public_key(shared_keys().public)
        try:
            self.sock.sendall(hello)
            received = b""
            while len(received) < 4 + 35:
                more = self.sock.recv(1 << 16)
                if not more:
                    return False
                received += more
        except (ConnectionResetError, BrokenPipeError):
            return False
        return True

    def is_refused(self) -> bool:
        """Whether the server resets it; one that it waits on would run into the timeout."""
        try:
            while not self.reset and self.sock.recv(1 << 16):
                pass
        except ConnectionResetError:
            self.reset = True
        return self.reset


def says(rig: Rig, nonsense: bytes, source: str = HERE) -> None:
    """Say something wrong, and stay until the server has closed."""
    caller = Caller(rig, source, nonsense)
    wait_until(lambda: f"{caller.name}: malformed" in rig.server.log, "the failure in the log")
    caller.sock.close()


class Case(NamedTuple):
    settings: Settings
    before: Callable[[Rig], object]
    """What uses the limit up."""
    says: bytes = b""
    """What the one says who is then refused."""
    others: str = THERE
    """Where somebody else comes from, who is served; "" where the limit is on everybody."""
    source: str = HERE
    inside: int = 0
    """Connections that are there when that is done."""


CASES: dict[CloseReason, Case] = {
    CloseReason.SERVER_FULL: Case(
        {"limits.connections": 3}, lambda rig: [rig.new() for _ in range(3)], others="", inside=3
    ),
    CloseReason.TOO_MANY_HANDSHAKES: Case(
        {"limits.handshakes": 3}, lambda rig: [rig.new(), *(rig.stranger() for _ in range(3))], others="", inside=4
    ),
    CloseReason.ADDRESS_DENIED: Case({"limits.deny": "10.0.0.0/8, 127.0.0.1"}, lambda rig: None),
    CloseReason.ADDRESS_FULL: Case(
        {"limits.address_connections": 2}, lambda rig: [rig.new(), rig.stranger()], inside=2
    ),
    CloseReason.ADDRESS_RATE: Case(
        {"limits.address_rate": 0.01, "limits.address_burst": 3}, lambda rig: [rig.new().leave() for _ in range(3)]
    ),
    CloseReason.ADDRESS_FAILURES: Case(
        {"limits.address_failures": 3}, lambda rig: [says(rig, NONSENSE) for _ in range(3)]
    ),
    CloseReason.ADDRESS_BANNED: Case(
        {"limits.flap_count": 3, "limits.flap_secs": 60, "limits.ban_secs": 600},
        lambda rig: [rig.new().leave() for _ in range(3)],
    ),
    CloseReason.PROXY_UNTRUSTED: Case(PROXIED, lambda rig: None, others=HERE, source=THERE),
    CloseReason.PROXY_MALFORMED: Case(PROXIED, lambda rig: None, says=VERSION, others=HERE),
    CloseReason.PROXY_TIMEOUT: Case(
        {**PROXIED, "listener.proxy_secs": 0.2}, lambda rig: None, says=b"PROXY TCP4 1.2", others=HERE
    ),
}


@pytest.mark.skipif(sys.platform != "linux", reason="needs more than one loopback address")
@pytest.mark.parametrize("reason", CASES, ids=lambda reason: reason.name)
def test_who_is_refused_for_this_reason(reason: CloseReason) -> None:
    case = CASES[reason]
    header = b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 1\r\n" if case.settings.keys() >= PROXIED.keys() else b""
    with running(case.settings) as rig:
        server = rig.server
        assert isinstance(server, ServerProcess)
        descriptors = server.descriptors() + case.inside
        case.before(rig)
        wait_until(lambda: server.descriptors() == descriptors, "the descriptors of those who are in")
        refused = [Caller(rig, case.source, case.says) for _ in range(3)]
        for caller in refused:
            assert caller.is_refused()
            server.wait_for_log(f"{caller.name}: {reason.value}")
        wait_until(lambda: server.descriptors() == descriptors, "nothing is left of those who were refused")
        if case.others:
            assert Caller(rig, case.others, header).is_let_in()


@pytest.mark.parametrize("reason", [CloseReason.SERVER_FULL, CloseReason.ADDRESS_FULL], ids=lambda reason: reason.name)
def test_a_place_that_comes_free_is_given_away(reason: CloseReason) -> None:
    setting = "limits.connections" if reason is CloseReason.SERVER_FULL else "limits.address_connections"
    with running({setting: 2}) as rig:
        first, second = rig.new(), rig.new()
        assert Caller(rig).is_refused()
        first.leave()
        third = rig.new()
        assert Caller(rig).is_refused()
        for client in (second, third):
            client.send(b"still served")
            assert rig.master.recv_for(client.client_id).data == b"still served"


def test_only_who_is_on_the_list_may_come() -> None:
    with running({"limits.allow": "10.0.0.0/8, 127.0.0.2/32"}) as rig:
        assert Caller(rig, THERE).is_let_in()
        assert Caller(rig, HERE).is_refused()


def test_a_crowd_from_one_address_is_nothing_to_the_defaults() -> None:
    """Load generators do it, and so does an office behind one address."""
    with running() as rig:
        for _ in range(300):
            rig.stranger().close()
        clients = [rig.new() for _ in range(50)]
        for client in clients:
            client.leave()
        assert all(reason.value not in rig.server.log for reason in CASES)


HEADERS = {
    "v1": b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 1\r\n",
    "v2": V2 + struct.pack("!BBH", 0x21, 0x11, 12) + socket.inet_aton("192.0.2.1") * 2 + struct.pack("!HH", 5000, 1),
}


@pytest.mark.parametrize("version", HEADERS)
def test_a_client_behind_a_proxy(version: str) -> None:
    """Header, handshake and data may come as one; the log and the limits know where the client is."""
    header = HEADERS[version]
    with running({**PROXIED, "limits.address_connections": 1}) as rig:
        client = RawClient(rig.server.address)
        with client:
            client.send_raw(header + VERSION + public_key(client.keys.public) + frame(b"and data"))
            client.finish_new()
            assert rig.master.recv_for(client.client_id).data == b"and data"
            second = Caller(rig, HERE, header)
            assert second.is_refused()
            rig.server.wait_for_log(f"192.0.2.1:5000: {CloseReason.ADDRESS_FULL.value}")  # type: ignore[union-attr]
        other = Caller(rig, HERE, header.replace(b"192.0.2.1", b"192.0.2.9").replace(bytes([192, 0, 2, 1]), bytes(4)))
        other.sock.sendall(NONSENSE)
        name = "192.0.2.9" if version == "v1" else "0.0.0.0"
        rig.server.wait_for_log(f"{name}:5000: {CloseReason.MALFORMED_PACKET.value}")  # type: ignore[union-attr]
