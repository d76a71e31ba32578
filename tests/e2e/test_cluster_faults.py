"""Several servers that are one, and a store, a master or a server that behaves badly: nothing is lost in silence, nothing
comes twice."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import pytest
from kit.cluster import ClusterRig
from kit.wait import wait_until

from voltlane.client import Connection


@pytest.fixture
def rig() -> Iterator[ClusterRig]:
    with ClusterRig() as rig:
        yield rig


def test_a_store_that_forgets_everything_ends_no_session(rig: ClusterRig) -> None:
    """Nobody is told that; a client that comes to another server at that moment is told to come back, until its own
    server has told the store of it again."""
    one, two = rig.servers
    proxy = rig.proxy()
    with Connection(proxy.address, reconnect="auto") as client:
        client.send(b"1")
        client.flush(10)
        one.process.send_signal(signal.SIGSTOP)  # it does not know yet that its client has gone
        try:
            rig.store.ask("FLUSHALL")
            proxy.point_to(two.address)
            proxy.cut_all()
            client.send(b"2")
            wait_until(lambda: driven(client) and "the store" in two.log.partition("its session")[2], "it to be told")
        finally:
            one.process.send_signal(signal.SIGCONT)
        client.flush(20)
        wait_until(lambda: rig.backend.got[client.client_id] == [b"1", b"2"], "both to arrive")
    assert not rig.backend.failures or {reason for _, reason in rig.backend.failures} == {"Client disconnected"}


def driven(client: Connection) -> bool:
    """Nothing happens between a client's calls."""
    with contextlib.suppress(TimeoutError):
        client.recv(0.05)
    return True


@pytest.mark.parametrize("restarted", [False, True])
def test_a_store_that_has_forgotten_the_keys_gets_them_again(rig: ClusterRig, restarted: bool) -> None:
    """A server that comes later has the same as the others: their clients know it."""
    before = rig.store.ask("GET", "voltlane:keys")
    if restarted:
        rig.store.restart()
    else:
        rig.store.ask("FLUSHALL")
    wait_until(lambda: rig.store.ask("GET", "voltlane:keys"), "the keys to be there")
    assert rig.store.ask("GET", "voltlane:keys") != before, "they are sealed anew"
    proxy = rig.proxy()
    with Connection(proxy.address, reconnect="auto") as client:
        third = rig.add(2)
        proxy.point_to(third.address)
        proxy.cut_all()
        client.send(b"1")
        client.flush(20)
