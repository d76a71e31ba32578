"""The client library and the real server with a bad network between them, version 3: connections are cut, reset,
half-closed, dripped, delayed and stalled at random bytes. Nothing is lost, nothing comes twice, nothing out of order,
in either direction; and a server that is killed costs what it tells.
"""

from __future__ import annotations

import contextlib
import random
import threading

import pytest
from kit.fault_proxy import End, FaultProxy, Faults, Link
from kit.process import BackendProcess, ServerProcess

from voltlane.client import Connection
from voltlane.client import backoff as backoffs
from voltlane.errors import ConnectionLost, SessionLost

COUNT = 600
LARGE = 300_000


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoffs, "LONGEST_SECS", 0.05)


def faults(choose: random.Random) -> Faults:
    """Of one direction: most are cut, somewhere between the first byte and the middle of the traffic; where it drips,
    all are, early enough: a large packet would take minutes, and be as good as nothing."""
    piece = choose.choice([0, 0, 7, 200])
    cuts = [choose.randrange(400), choose.randrange(6000), choose.randrange(60_000), -1]
    return Faults(
        delay=choose.choice([0.0, 0.0, 0.003]),
        piece=piece,
        pause=0.0002,
        cut_at=choose.choice(cuts[:2] if piece == 7 else cuts),
        cut_by=choose.choice(list(End)),
        stall_at=choose.choice([-1, -1, -1, choose.randrange(5000)]),
    )


def payload(number: int) -> bytes:
    size = LARGE if number % 200 == 150 else number * 37 % 900
    return number.to_bytes(4, "big") + bytes(size)


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "clear"])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_behind_a_bad_network(seed: int, encrypted: bool) -> None:
    choose = random.Random(seed)
    script = [Link()] + [Link(faults(choose), faults(choose)) for _ in range(15)] + [Link()]
    with (
        BackendProcess() as backend,
        ServerProcess(backend.address) as server,
        FaultProxy(server.address, script) as proxy,
    ):
        connection = Connection(
            proxy.address, reconnect="auto", timeout=1.0, heartbeat=0.2, encrypted=encrypted, retained_packets=64
        )
        client_id = connection.client_id
        writer = threading.Thread(
            target=lambda: [connection.send(payload(number)) for number in range(COUNT)], daemon=True
        )
        writer.start()
        for number in range(COUNT):
            if number % 60 == 20:
                for link in list(proxy.links):
                    if not link.closed:
                        link.cut(choose.choice([End.CLOSE, End.RESET]))
            assert connection.recv(60) == payload(number)
        writer.join(10)
        assert connection.client_id == client_id
        assert len(proxy.links) > 5, "the network was too good"
        connection.close(timeout=30)
        assert connection._session._memory.retention.acked == COUNT  # type: ignore[union-attr]


def test_of_a_program_and_its_successor_one_goes_on() -> None:
    """The second begins with the state that was kept last, and has what was under way."""
    states: list[bytes] = []
    with BackendProcess() as backend, ServerProcess(backend.address) as server, contextlib.ExitStack() as stack:
        first = Connection(server.address, on_state=states.append, acks="manual")
        stack.callback(first.close, goodbye=False)
        for number in range(20):
            first.send(b"%d" % number)
        assert [int(first.recv(5)) for _ in range(10)] == list(range(10))
        first.ack()
        states.append(first.state())
        second = stack.enter_context(Connection.restore(states[-1], acks="manual"))
        assert [int(second.recv(5)) for _ in range(10)] == list(range(10, 20))
        second.send(b"20")
        assert second.recv(5) == b"20"
        with pytest.raises(ConnectionLost):
            while True:
                first.recv(5)
        with pytest.raises(SessionLost):
            first.reconnect()
