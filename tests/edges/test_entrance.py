"""All listening sockets as one thing: opened and closed together, and open only while nothing speaks against it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.handlers import POLLERS, Loop

from voltlane.address import Address, parse_address
from voltlane.edges.entrance import Entrance, Hold
from voltlane.errors import StartupError

ANY = parse_address("127.0.0.1:0")


class House:
    """An entrance in a loop, and who came in."""

    def __init__(self, poller: type) -> None:
        self.loop = Loop(poller)
        self.accepted: list[socket.socket] = []
        self.knocking: list[socket.socket] = []
        self.entrance = Entrance(self.loop, self.accepted.append, lambda error, wait: None)

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

    for listener in house.entrance._listeners:
        listener._on_accept = accept
    house.knock(0, 6)
    house.knock(1, 6)
    for count in range(1, 9):
        house.entrance.release(Hold.CROWD)
        house.until_accepted(count)
        house.loop.spin(2)
        assert len(house.accepted) == count
    assert sorted(house.doors()) == [0] * 4 + [1] * 4


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
    house.entrance.adopt([ready])
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
