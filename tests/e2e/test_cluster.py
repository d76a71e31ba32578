"""Several servers that are one, with a real store: a client goes from one to another, whatever becomes of these."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from kit.cluster import ClusterRig
from kit.raw_client import RawClient
from kit.wait import wait_until

from voltlane.client import Connection
from voltlane.errors import Uncertain


@pytest.fixture
def rig() -> Iterator[ClusterRig]:
    with ClusterRig() as rig:
        yield rig


def arrived(rig: ClusterRig, client_id: int, *data: bytes) -> None:
    wait_until(lambda: rig.backend.got[client_id] == list(data), f"{data!r} to arrive")


def test_a_live_client_of_version_3_goes_from_one_to_the_other_and_back(rig: ClusterRig) -> None:
    """Its old server believes it to be there: it is asked, and gives it up with what it was sent and had not read."""
    one, two = rig.servers
    proxy = rig.proxy()
    with Connection(proxy.address) as client:
        client.send(b"1")
        arrived(rig, client.client_id, b"1")
        for number, target in enumerate((two, one, two), 2):
            rig.backend.send(client.client_id, b"down %d" % number)
            proxy.point_to(target.address)
            client.send(b"%d" % number)
            client.reconnect(10)
            client.send(b"%d again" % number)
            assert client.recv(10) == b"down %d" % number
        expected = [b"1", *[word for n in (2, 3, 4) for word in (b"%d" % n, b"%d again" % n)]]
        arrived(rig, client.client_id, *expected)
        assert rig.row(client.client_id)["term"] == b"4"
        assert not rig.backend.failures


def test_a_stale_client_of_version_3_goes_from_one_to_the_other(rig: ClusterRig) -> None:
    """What came for it meanwhile is at the old one, and goes with it."""
    one, two = rig.servers
    proxy = rig.proxy()
    with Connection(proxy.address) as client:
        client.send(b"1")
        arrived(rig, client.client_id, b"1")
        proxy.cut_all()
        one.wait_for_log("peer closed")
        for number in range(5):
            rig.backend.send(client.client_id, b"%d" % number)
        wait_until(lambda: rig.backend.firehose.links[0].queued == 0, "the packets to be on their way")
        client.send(b"2")
        proxy.point_to(two.address)
        client.reconnect(10)
        assert [client.recv(10) for _ in range(5)] == [b"%d" % number for number in range(5)]
        arrived(rig, client.client_id, b"1", b"2")


@pytest.mark.parametrize("stale", [False, True])
def test_a_server_that_is_killed_leaves_its_clients_to_the_others(rig: ClusterRig, stale: bool) -> None:
    """Of version 3: what is not known is told."""
    one, two = rig.servers
    proxy = rig.proxy()
    client = Connection(proxy.address, reconnect="auto", gaps="return")
    told: list[object] = []
    with client:
        client.send(b"0")
        client.flush(10)
        if stale:
            proxy.cut_all()
            one.wait_for_log("peer closed")
        one.kill()
        proxy.point_to(two.address)
        client.send(b"1", 10)
        client.flush(10)
        rig.backend.send(client.client_id, b"down")
        while True:
            item = client.recv(10)
            told.append(item)
            if item == b"down":
                break
        assert [type(item).__name__ for item in told] in (["Gap", "bytes"], ["Gap", "Uncertain", "bytes"])
        uncertain = {packet for item in told if isinstance(item, Uncertain) for packet in item.packets}
        got = rig.backend.got[client.client_id]
        assert got[0] == b"0" and len(got) == len(set(got)) and {b"1"} <= set(got) | uncertain


def test_version_2_goes_from_one_to_the_other_and_back(rig: ClusterRig) -> None:
    """The servers have the same key."""
    one, two = rig.servers
    client = RawClient.new(one.address)
    client.send(b"1")
    arrived(rig, client.client_id, b"1")
    for number, server in enumerate((two, one), 2):
        client = come_back(client, server.address)
        client.send(b"%d" % number)
        rig.backend.send(client.client_id, b"down")
        assert client.recv() == b"down"
    arrived(rig, client.client_id, b"1", b"2", b"3")
    client.close()


def test_version_2_comes_back_from_a_server_that_was_killed(rig: ClusterRig) -> None:
    one, two = rig.servers
    client = RawClient.new(one.address)
    client.send(b"1")
    arrived(rig, client.client_id, b"1")
    one.kill()
    client = come_back(client, two.address)
    client.send(b"2")
    arrived(rig, client.client_id, b"1", b"2")
    client.close()


def come_back(client: RawClient, address: str) -> RawClient:
    """Again and again: a server that was killed is believed to live while it has its number."""
    deadline = time.monotonic() + 20
    client.address = address
    while True:
        try:
            return client.come_back()
        except OSError:
            assert time.monotonic() < deadline
