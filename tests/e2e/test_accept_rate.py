"""More connections than the accept rate: nobody is refused, everybody comes in, one after the other."""

from __future__ import annotations

from contextlib import ExitStack

from kit.process import EmbeddedServer
from kit.raw_client import RawClient
from kit.rig import running

from voltlane.reasons import Hold


def test_who_is_too_many_waits_and_is_not_refused() -> None:
    with running({"limits.accept_rate": 40}, embedded=True) as rig, ExitStack() as stack:
        assert isinstance(rig.server, EmbeddedServer)
        counters = rig.server.counters
        clients = [stack.enter_context(RawClient(rig.server.address)) for _ in range(80)]
        for client in clients:
            client.greet()
        clients[0].finish_new()
        clients[0].send(b"who is in is served")
        assert rig.master.recv_for(clients[0].client_id).data == b"who is in is served"
        for client in clients[1:]:
            client.finish_new()
        assert counters.accepted == counters.sessions == 80 and counters.closed == {}
        assert counters.held[Hold.RATE] > 1
