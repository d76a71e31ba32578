"""A lane that is in the tables and nowhere else, beside plain TCP: one server, real sockets, sessions that wander."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from kit.frames import join, split
from kit.lanes.toy import LANE as TOY
from kit.lanes.toy import Speaker
from kit.raw_client import PING, RawClient, response
from kit.raw_master import RECONNECTION
from kit.rig import Rig, running

from voltlane import address
from voltlane.lanes.table import LANES
from voltlane.reasons import CloseReason


class ToyClient(RawClient):
    """The same client with a toy's wire between it and the socket."""

    def __init__(self, where: str, **options: Any) -> None:
        super().__init__(where, **options)
        self.speaker = Speaker()
        self.sock.sendall(self.speaker.opening)

    def send(self, *payloads: bytes) -> None:
        self.send_raw(join(payloads))

    def send_raw(self, data: bytes) -> None:
        """Whole messages, as the other client has them on its wire."""
        self.sock.sendall(b"".join(map(self.speaker.encode, split(data))))

    def fill(self) -> bool:
        try:
            received = self.sock.recv(1 << 18)
        except (ConnectionResetError, BrokenPipeError):
            return False
        self._data += join(self.speaker.decode(received))
        return bool(received)


class Doors(Rig):
    """A rig with two addresses."""

    plain = toy = ""

    def new_toy(self, behind: bytes = b"") -> Any:
        return self._keep(ToyClient.new(self.toy, behind))

    def back_by(self, kind: type[RawClient], client: RawClient) -> RawClient:
        """A second connection, by another lane or the same, that resumes a client's session."""
        again = self._keep(kind(self.toy if kind is ToyClient else self.plain, keys=client.keys))
        blob = again.begin_resume(client.client_id)
        again.send_raw(response(again.answer(blob)) + PING)
        return again.finish_resume()


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Doors]:
    monkeypatch.setattr(address, "SCHEMES", [*address.SCHEMES, TOY.name])
    monkeypatch.setitem(LANES, TOY.name, TOY)
    with running({"listener.address": "127.0.0.1:0,toy://127.0.0.1:0"}, embedded=True) as rig:
        doors = Doors(rig.server, rig.master)
        doors.plain, toy = map(str, rig.server.server.listen_addresses)
        assert doors.plain == rig.server.address and re.fullmatch(r"toy://127\.0\.0\.1:\d+", toy)
        rig.server.wait_for_log(f"clients connect to {toy}")
        doors.toy = toy[len("toy://") :]
        yield doors
        doors.close_clients()


def test_two_lanes_share_a_server(doors: Doors):
    plain, toy = doors.new(), doors.new_toy()
    assert plain.server_point == toy.server_point and plain.client_id != toy.client_id
    payloads = [b"", b"small", bytes(100_000), b"\xff" * 1_000_000, b"end"]
    for client in (toy, plain):
        client.send(*payloads)
    for client in (plain, toy):
        assert doors.master.recv_data(client.client_id, 5) == payloads
        doors.master.send(client.client_id, *payloads)
    for client in (toy, plain):
        assert client.recv_many(5) == payloads


def test_data_behind_the_handshake(doors: Doors):
    toy = doors.new_toy(join([b"at once", b"x" * 5000]))
    assert doors.master.recv_data(toy.client_id, 2) == [b"at once", b"x" * 5000]


def test_a_session_wanders(doors: Doors):
    """From the toy to plain TCP and back, once after an end and once while the old connection is there."""
    first = doors.new_toy()
    first.send(b"by the toy")
    assert doors.master.recv_data(first.client_id, 1) == [b"by the toy"]
    assert first.leave() == [] and first.speaker.ended, "who says no more is answered"
    doors.master.send(first.client_id, *[b"missed %d" % number for number in range(50)])
    doors.master.fence()

    second = doors.back_by(RawClient, first)
    assert second.recv_many(50) == [b"missed %d" % number for number in range(50)]
    assert doors.master.recv_for(first.client_id).flag == RECONNECTION
    second.send(b"by plain TCP")
    assert doors.master.recv_data(first.client_id, 1) == [b"by plain TCP"]

    third = doors.back_by(ToyClient, second)
    assert list(second.rest()) == [], "taken over"
    assert doors.master.recv_for(first.client_id).flag == RECONNECTION
    third.send(b"by the toy again")
    assert doors.master.recv_data(first.client_id, 1) == [b"by the toy again"]
    doors.master.send(first.client_id, b"down")
    assert third.recv() == b"down"
    assert doors.server.counters.closed[CloseReason.TAKEN_OVER] == 1 and doors.server.counters.resumed == 2


def test_a_word_of_the_framings_at_the_end(doors: Doors):
    """It reaches the client over a real socket, behind all that was sent."""
    toy = doors.new_toy()
    doors.master.send(toy.client_id, *[b"last %d" % number for number in range(100)])
    doors.master.kick(toy.client_id)
    assert list(toy.rest()) == [b"last %d" % number for number in range(100)]
    assert toy.speaker.ended


def test_who_comes_by_the_wrong_door(doors: Doors):
    """A toy begins with what is no length that plain TCP would take, and a plain client with no preamble."""
    toy, plain = doors._keep(ToyClient(doors.plain)), doors._keep(RawClient(doors.toy))
    plain.greet()
    for client in (toy, plain):
        with pytest.raises(EOFError):
            client.recv()
    closed = doors.server.counters.closed
    assert closed == {CloseReason.MALFORMED_PACKET: 1, CloseReason.FRAME_TOO_LARGE: 1}
