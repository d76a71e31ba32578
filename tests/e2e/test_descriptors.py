"""A process that runs out of descriptors: who is here is served, who comes waits, and the master is reached again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from kit.process import HAS_PROC, ServerProcess, Settings, environment, usual
from kit.raw_client import RawClient, frame
from kit.raw_master import RECONNECTION, RawMaster
from kit.wait import wait_until

pytest.importorskip("resource", reason="limits on descriptors are a matter of Unix")

LIMIT = 64
PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
from voltlane.cli import main
from voltlane.lanes.entry import entrance
from voltlane.net.reactor import Reactor
{more}
turn, turns = Reactor.turn, [0]
def counted(self, timeout=None):
    turns[0] += 1
    turn(self, timeout)
Reactor.turn = counted
code = main(["serve"])
print("turns:", turns[0], flush=True)
sys.exit(code)
"""
TO_THE_LAST = "entrance.DESCRIPTORS_SHARE, entrance.RESERVE = 1.0, 0"
"""Without the reserve: the system itself says when there are no more."""


@contextmanager
def limited(master: RawMaster, more: str = "", settings: Settings | None = None) -> Iterator[ServerProcess]:
    server = ServerProcess.__new__(ServerProcess)
    code = PROGRAM.format(limit=LIMIT, more=more)
    super(ServerProcess, server).__init__(["-c", code], environment(usual(master.address, settings or {})))
    server._address = ""
    with server:
        master.accept()
        assert server.address
        yield server


def turns(server: ServerProcess) -> int:
    """How many it took in all; ends it."""
    assert server.stop() == 0
    return int(re.search(r"turns: (\d+)", server.log)[1])  # type: ignore[index]


def served(client: RawClient) -> RawClient:
    """Finish the handshake of a client that has said all it has to say."""
    return client.finish_new()


def knock(stack: ExitStack, server: ServerProcess, count: int) -> list[RawClient]:
    """Clients that have sent their handshake, whether or not they are let in."""
    clients = [stack.enter_context(RawClient(server.address)) for _ in range(count)]
    for client in clients:
        client.greet()
    return clients


@pytest.mark.parametrize("more", ["", TO_THE_LAST], ids=["with the reserve", "to the last one"])
def test_who_is_here_is_served_and_who_comes_waits(more: str) -> None:
    said = ": Too many open files; trying again in" if more else f"of {LIMIT} descriptors are in use"
    with RawMaster() as master, ExitStack() as stack, limited(master, more) as server:
        clients = knock(stack, server, 2 * LIMIT)
        server.wait_for_log(said)
        here = served(clients[0])
        for number in range(20):
            here.send(b"%d" % number)
            assert master.recv_for(here.client_id).data == b"%d" % number
            master.send(here.client_id, b"%d" % number)
            assert here.recv() == b"%d" % number
        if HAS_PROC and not more:
            assert server.descriptors() <= LIMIT - 7
        for client in clients[1:LIMIT]:
            client.close()
        for client in clients[LIMIT:]:
            served(client)
            client.close()
        newest = stack.enter_context(RawClient.new(server.address, behind=frame(b"and new ones")))
        assert master.recv_for(newest.client_id).data == b"and new ones"
        master.close()
        count = turns(server)
        assert count < 3000, f"the loop spins: {count} turns"
        assert server.log.count(said) < 30, "it tries again without a pause"


def test_the_master_is_reached_again_though_clients_took_all_there_was() -> None:
    with RawMaster() as master, ExitStack() as stack, limited(master) as server:
        clients = knock(stack, server, 2 * LIMIT)
        server.wait_for_log(f"of {LIMIT} descriptors are in use")
        here = served(clients[0])
        for _ in range(5):
            master.drop()
            master.accept()
            assert master.recv_for(here.client_id).flag == RECONNECTION
        here.send(b"up")
        assert master.recv_for(here.client_id).data == b"up"
        assert "Too many open files" not in server.log
        master.close()


def test_several_listeners_wait_together() -> None:
    settings = {"listener.address": "127.0.0.1:0,127.0.0.1:0"}
    with RawMaster() as master, ExitStack() as stack, limited(master, "", settings) as server:
        server.wait_for_log("clients connect to ", 2)
        doors = re.findall(r"clients connect to (\S+)", server.log)
        clients = [stack.enter_context(RawClient(doors[number % 2])) for number in range(2 * LIMIT)]
        server.wait_for_log("descriptors are in use")
        for client in clients[:LIMIT]:
            client.close()
        server.wait_for_log("clients are accepted again")
        for client in clients[LIMIT:]:
            client.greet()
        wait_until(lambda: all(served(client) for client in clients[LIMIT : LIMIT + 20]), "both doors")
        master.close()
        count = turns(server)
        assert count < 3000, f"the loop spins: {count} turns"
