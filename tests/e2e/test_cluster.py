"""Several servers that are one, with a real store: a client goes from one to another, whatever becomes of these."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kit.cluster import ClusterRig
from kit.wait import wait_until

from voltlane.client import Connection


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
