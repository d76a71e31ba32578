"""All listening sockets as one thing: opened and closed together, and open only while nothing speaks against it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.handlers import POLLERS, Loop
from kit.world import MakeWorld

from voltlane.address import Address, parse_address
from voltlane.core.counters import Counters
from voltlane.errors import StartupError
from voltlane.lanes.entry import entrance
from voltlane.lanes.entry.entrance import LOOK_SECS, RELIEF_SECS, Entrance
from voltlane.lanes.fairness.turns import CROWD
from voltlane.net.reactor import TICK
from voltlane.net.sockets import listening_socket, next_descriptor
from voltlane.ops.log import log
from voltlane.reasons import Hold

EACH_POLLER = True

ANY = parse_address("127.0.0.1:0")


class House:
    """An entrance in a loop, and who came in."""

    def __init__(self, poller: type) -> None:
        self.loop = Loop(poller)
        self.accepted: list[socket.socket] = []
        self.knocking: list[socket.socket] = []
        self.counters = Counters()
        self.entrance = Entrance(self.loop, self.counters, lambda sock, *_: self.accepted.append(sock))

    def open(self, *addresses: Address) -> None:
        self.entrance.open(addresses)

    def knock(self, door: int, times: int = 1) -> None:
        where = self.entrance.addresses[door]
        for _ in range(times):
            if where.kind == "unix":
                self.knocking.append(socket.socket(socket.AF_UNIX))
                self.knocking[-1].connect(where.path)
            else:
                self.knocking.append(socket.create_connection((where.host, where.port)))

    def doors(self) -> list[int]:
        """By which door each of those accepted came in."""
        ports = [address.port for address in self.entrance.addresses]
        return [ports.index(sock.getsockname()[1]) for sock in self.accepted]

    def until_accepted(self, count: int) -> None:
        self.loop.until(lambda: len(self.accepted) >= count, f"{count} connections")

    def close(self) -> None:
        self.entrance.close()
        for sock in (*self.accepted, *self.knocking):
            sock.close()
        self.loop.spin(1)
        self.loop.close()
        assert self.loop.bugs == [] and self.loop.watched == 0 and self.loop.timers == 0


@pytest.fixture(params=POLLERS, ids=lambda poller: poller.__name__)
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    made = House(request.param)
    yield made
    made.close()


def test_nobody_is_accepted_before_there_is_a_master(house: House, tmp_path: Path):
    house.open(ANY, ANY, parse_address(f"unix:{tmp_path}/door"))
    for door in range(3):
        house.knock(door)
    house.loop.spin()
    assert house.accepted == []
    house.entrance.release(Hold.MASTER)
    house.until_accepted(3)
    for door in range(3):
        house.knock(door)
    house.until_accepted(6)


def test_the_causes_are_independent(house: House):
    house.open(ANY, ANY)
    house.entrance.hold(Hold.CROWD)
    house.entrance.hold(Hold.CROWD)
    house.entrance.release(Hold.MASTER)
    house.entrance.release(Hold.MASTER)
    house.knock(0)
    house.knock(1)
    house.loop.spin()
    assert house.accepted == [] and house.entrance.holds == {Hold.CROWD}
    house.entrance.release(Hold.CROWD)
    house.until_accepted(2)
    house.entrance.hold(Hold.CROWD)
    house.knock(1)
    house.loop.spin()
    assert len(house.accepted) == 2
    house.entrance.release(Hold.CROWD)
    house.until_accepted(3)


def test_no_door_starves_another(house: House):
    """Each time it is opened only one is let in: both doors have their share."""
    house.open(ANY, ANY)
    house.entrance.release(Hold.MASTER)
    house.loop.spin()
    house.entrance.hold(Hold.CROWD)

    def accept(sock: socket.socket, *_: object) -> None:
        house.accepted.append(sock)
        house.entrance.hold(Hold.CROWD)

    house.entrance._on_accept = accept
    house.knock(0, 6)
    house.knock(1, 6)
    for count in range(1, 9):
        house.entrance.release(Hold.CROWD)
        house.until_accepted(count)
        house.loop.spin(2)
        assert len(house.accepted) == count
    assert sorted(house.doors()) == [0] * 4 + [1] * 4


# ---- the rate


def test_the_rate_leaves_who_is_too_many_in_the_queue(house: House):
    house.entrance.limit_rate(20)
    house.open(ANY)
    house.entrance.release(Hold.MASTER)
    house.knock(0, 50)
    house.loop.spin(20)
    assert len(house.accepted) == 20, "a second's worth"
    assert house.entrance.holds == {Hold.RATE} and house.counters.held[Hold.RATE] == 1
    counts = []
    for _ in range(20):
        house.loop.pass_(0.1)
        house.loop.spin()
        counts.append(len(house.accepted))
    assert counts[9] in (39, 40, 41) and counts[-1] == 50, counts
    assert all(later - before <= 3 for before, later in zip(counts, counts[1:])), counts
    house.knock(0, 20)
    house.loop.pass_(3)
    house.loop.spin()
    assert len(house.accepted) == 70


def test_a_rate_of_less_than_one_a_second(house: House):
    house.entrance.limit_rate(0.5)
    house.open(ANY, ANY)
    house.entrance.release(Hold.MASTER)
    house.knock(0, 2)
    house.knock(1, 2)
    house.loop.spin(10)
    assert len(house.accepted) == 1
    for count in (2, 3, 4):
        house.loop.pass_(1.8)
        assert len(house.accepted) == count - 1
        house.loop.pass_(0.2 + TICK)
        house.until_accepted(count)
        house.loop.spin(5)
        assert len(house.accepted) == count
    assert sorted(house.doors()) == [0, 0, 1, 1]


def test_another_rate_counts_for_those_who_wait(house: House):
    house.entrance.limit_rate(0.01)
    house.open(ANY)
    house.entrance.release(Hold.MASTER)
    house.knock(0, 20)
    house.loop.spin(5)
    house.entrance.limit_rate(0.01)
    house.loop.pass_(50)
    assert len(house.accepted) == 1, "saying it again gives nobody another burst"
    house.entrance.limit_rate(10)
    house.loop.spin(5)
    assert len(house.accepted) == 11
    house.entrance.limit_rate(0)
    house.until_accepted(20)
    assert house.loop.timers == 0 and house.entrance.holds == set()


def test_without_a_rate_everybody_comes_in_at_once(house: House):
    house.open(ANY)
    house.entrance.limit_rate(1)
    house.entrance.limit_rate(0)
    house.entrance.release(Hold.MASTER)
    house.knock(0, 100)
    house.until_accepted(100)
    assert house.counters.held == {Hold.MASTER: 1}


# ---- descriptors


@pytest.fixture
def few(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house whose clients get ten descriptors."""
    house.open(ANY, ANY)
    monkeypatch.setattr(entrance, "RELIEF_SHARE", 0.0)
    house.entrance.release(Hold.MASTER)
    house.loop.spin()
    return house


def allow(house: House, clients: int, spare: int = 100) -> None:
    """The limit that leaves so many for clients, of which `spare` more are in reserve."""
    house.entrance._below = next_descriptor() + clients
    house.entrance._limit = house.entrance._below + spare


def crowd(house: House, count: int) -> None:
    """Connections whose own ends are of no weight: they are made before the limit is."""
    for number in range(count):
        house.knock(number % 2)


def test_the_last_tenth_of_the_descriptors_is_not_for_clients(few: House, caplog: pytest.LogCaptureFixture):
    few.entrance.hold(Hold.CROWD)
    crowd(few, 30)
    allow(few, 10)
    few.entrance.release(Hold.CROWD)
    few.loop.spin(20)
    assert len(few.accepted) == 11 and few.entrance.holds == {Hold.DESCRIPTORS}
    assert few.counters.held[Hold.DESCRIPTORS] == 1
    assert "descriptors are in use" in caplog.text
    assert next_descriptor() < few.entrance._limit, "there is one left for the master"
    few.loop.pass_(RELIEF_SECS * 3)
    assert len(few.accepted) == 11, "nobody has left"
    for sock in few.accepted[:5]:
        sock.close()
    few.loop.pass_(RELIEF_SECS * 2)
    assert len(few.accepted) == 16 and few.entrance.holds == {Hold.DESCRIPTORS}
    for sock in few.accepted[5:]:
        sock.close()
    few.loop.pass_(RELIEF_SECS * 4)
    assert len(few.accepted) == 26
    for sock in few.accepted:
        sock.close()
    few.loop.pass_(RELIEF_SECS * 2)
    assert len(few.accepted) == 30 and few.entrance.holds == set()


def test_it_goes_on_at_once_when_many_have_left_and_later_when_few_have(few: House):
    few.entrance.hold(Hold.CROWD)
    crowd(few, 20)
    allow(few, 10)
    few.entrance.release(Hold.CROWD)
    few.loop.spin(20)
    few.accepted[0].close()
    few.loop.pass_(2 * LOOK_SECS)
    few.loop.spin()
    assert len(few.accepted) == 12, "nobody here is watched, and no relief is asked for: one is as many as all"
    few.entrance._relief = few.loop.watched - 1
    few.accepted[1].close()
    few.loop.pass_(RELIEF_SECS / 2)
    assert len(few.accepted) == 12, "one of many does not count for much"
    few.loop.pass_(RELIEF_SECS / 2 + 2 * LOOK_SECS)
    few.loop.spin()
    assert len(few.accepted) == 13, "but is not for ever nothing"


def test_the_reserve_does_not_melt_away(few: House):
    few.entrance.hold(Hold.CROWD)
    crowd(few, 40)
    allow(few, 10)
    few.entrance.release(Hold.CROWD)
    few.loop.spin(20)
    assert len(few.accepted) == 11
    for count in range(12, 22):
        few.accepted[count - 12].close()
        few.loop.pass_(2 * RELIEF_SECS)
        assert len(few.accepted) == count, "one for one"


def test_being_held_is_quiet(few: House):
    """Turns are counted: while connections wait the loop is woken by its own look at the descriptors, and no more."""
    few.entrance.hold(Hold.CROWD)
    crowd(few, 30)
    allow(few, 10)
    few.entrance.release(Hold.CROWD)
    few.loop.spin(20)
    found = [few.loop.poller.poll(0) for _ in range(5)]
    assert found == [[]] * 5
    deadline = few.loop._wheel.next_deadline()
    assert deadline is not None and deadline - few.loop.now > LOOK_SECS / 2 and few.loop.timers == 1


@pytest.mark.parametrize(
    ("limit", "below"), [(1000, 900), (1_000_000, 900_000), (40, 32), (0, None)], ids=["1000", "million", "40", "none"]
)
def test_how_many_descriptors_clients_get(house: House, limit: int, below: int | None):
    house.entrance.limit_descriptors(limit)
    assert house.entrance._below == below if below else house.entrance._below > 1 << 40


def test_closing_while_held(few: House):
    few.entrance.limit_rate(1)
    crowd(few, 5)
    allow(few, 0)
    few.loop.spin(5)
    assert {Hold.RATE, Hold.DESCRIPTORS} == few.entrance.holds
    few.entrance.close()
    assert few.loop.timers == 0


class Failing:
    """A listening socket whose system has no room for another connection, for a while."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.broken = True

    def _accept(self) -> tuple[int, object]:
        if self.broken:
            raise OSError(errno.ENFILE, "Too many open files in system")
        return self._sock._accept()  # type: ignore[attr-defined,no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_a_system_that_has_no_room_is_asked_again_after_a_pause(house: House, caplog: pytest.LogCaptureFixture):
    house.open(ANY)
    (listener,) = house.entrance._listeners
    listener._sock = failing = Failing(listener._sock)  # type: ignore[arg-type, assignment]
    house.entrance.release(Hold.MASTER)
    house.knock(0, 3)
    house.loop.spin(50)
    assert house.counters.held[Hold.EXHAUSTED] == 1, "and not once a turn"
    said = f"cannot accept connections at {house.entrance.addresses[0]}: Too many open files in system; trying again in"
    assert said in caplog.text
    failing.broken = False
    house.loop.pass_(3)
    house.until_accepted(3)


def test_a_socket_that_was_shut_down_elsewhere_is_said_while_the_pauses_grow(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(log, "propagate", True)
    house.open(ANY, ANY)
    first = house.entrance._listeners[0]
    house.entrance.release(Hold.MASTER)
    house.loop.spin()
    with first._sock.dup() as shared:  # type: ignore[union-attr]
        shared.shutdown(socket.SHUT_RDWR)
        house.loop.until(lambda: house.counters.held[Hold.FAILING], "the pause")
        house.loop.pass_(60)
    assert 25 < house.counters.held[Hold.FAILING] < 40 and Hold.EXHAUSTED not in house.counters.held
    said = f"cannot accept connections at {house.entrance.addresses[0]}: Invalid argument; trying again in "
    assert [line[len(said) :] for line in caplog.messages if line.startswith(said)] == [
        f"{seconds:.1f} s" for seconds in (0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
    ]
    house.knock(1)
    house.until_accepted(1)


# ---- whom the server itself holds


def test_many_handshakes_at_once_hold_whoever_comes_next(make: MakeWorld):
    home = make()
    entrance, counters = home.server.entrance, home.server.counters
    assert entrance.holds == set() and counters.held == {Hold.MASTER: 1}
    clients = [home.start_new() for _ in range(CROWD + 10)]
    home.loop.turn(0)
    assert entrance.holds == {Hold.CROWD}
    home.settle()
    assert entrance.holds == set() and counters.held[Hold.CROWD] >= 1
    assert all(client.ready for client in clients)


# ---- opening and closing


def test_one_that_cannot_be_opened_closes_the_others(house: House, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = Address("tcp", *taken.getsockname(), "")
        with pytest.raises(StartupError, match=f"cannot listen on {busy}: Address already in use"):
            house.open(ANY, parse_address(f"unix:{tmp_path}/door"), busy)
    assert house.loop.watched == 0 and house.entrance.addresses == [] and not house.entrance.is_open
    assert list(tmp_path.iterdir()) == []


def test_sockets_that_listen_already(house: House, tmp_path: Path):
    """The file of a unix socket that somebody else made is theirs."""
    path = tmp_path / "door"
    ready = socket.socket(socket.AF_UNIX)
    ready.bind(str(path))
    ready.listen()
    ready.setblocking(False)
    house.entrance.adopt([("tcp", ready)])
    house.knock(0)
    house.entrance.release(Hold.MASTER)
    house.until_accepted(1)
    assert house.entrance.addresses == [parse_address(f"unix:{path}")]
    house.entrance.close()
    assert path.exists()


def test_closing_takes_the_files_away_once(house: House, tmp_path: Path):
    path = tmp_path / "door"
    house.open(ANY, parse_address(f"unix:{path}"))
    assert path.exists()
    house.entrance.close()
    assert not path.exists()
    path.touch()
    house.entrance.close()
    assert path.exists(), "it is somebody else's by now"
    house.entrance.release(Hold.MASTER)


def test_a_successors_file_stays(house: House, tmp_path: Path):
    path = tmp_path / "door"
    house.open(parse_address(f"unix:{path}"))
    path.unlink()
    with listening_socket(parse_address(f"unix:{path}")) as successor:
        house.entrance.close()
        house.loop.spin()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        assert successor.fileno() > 0
