"""Several servers that are one, and a store, a master or a server that behaves badly: nothing is lost in silence, and
nothing comes twice."""

from __future__ import annotations

import contextlib
import re
import signal
import time
import urllib.request
from collections.abc import Iterator

import pytest
from kit.cluster import SECRET, ClusterRig
from kit.fault_proxy import FaultProxy
from kit.process import ServerProcess
from kit.raw_client import RawClient
from kit.raw_master import RawMaster
from kit.wait import wait_until

from voltlane.client import Connection
from voltlane.cluster.keys.secret import Sealer
from voltlane.errors import Uncertain


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


def test_a_secret_that_the_store_has_not_been_told_of() -> None:
    """A server without the store lets its clients come back, and gives them other secrets. Where they come next nobody
    knows these: that is no wrong proof, and the session is not lost."""
    settings = {"cluster.lease_secs": 60.0}
    with ClusterRig(servers=0, settings=settings) as rig, FaultProxy(rig.store.address) as way:
        one = rig.add(0, **{"cluster.url": f"redis://{way.address}"})
        two = rig.add(1)
        proxy = rig.proxy()
        with Connection(proxy.address, reconnect="auto") as client:
            client.send(b"0")
            client.flush(10)
            way.refusing = True
            way.cut_all()
            one.wait_for_log("the store at")
            for number in (b"1", b"2"):
                proxy.cut_all()
                client.send(number)
                client.flush(10)
            proxy.point_to(two.address)
            proxy.cut_all()
            client.send(b"3")
            wait_until(lambda: driven(client) and "a later secret" in two.log, "it to be told to come back")
            way.refusing = False
            client.flush(30)
            wait_until(lambda: rig.backend.got[client.client_id] == [b"0", b"1", b"2", b"3"], "all to arrive")


@contextlib.contextmanager
def one_without_the_store(**settings: object) -> Iterator[tuple[ClusterRig, FaultProxy]]:
    """Two servers, of which the first has its store by way of a proxy, and these settings."""
    with ClusterRig(servers=0) as rig, FaultProxy(rig.store.address) as way:
        rig.add(0, **{"cluster.url": f"redis://{way.address}", **settings})
        rig.add(1)
        yield rig, way


@pytest.mark.parametrize("ends", ["expired", "too much waits"])
def test_an_old_copy_that_ends_is_not_the_end_of_a_session(ends: str) -> None:
    """It is another server's by then: nobody is told that it is over, and its client may come back to where it was."""
    settings: dict[str, object] = {"clients.stale_timeout_secs": 1.5, "clients.stale_reap_interval_secs": 0.1}
    if ends != "expired":
        settings = {"clients.missed_packets_buffer_size": 3}
    with one_without_the_store(**settings) as (rig, way):
        one, two = rig.servers
        proxy = rig.proxy()
        with Connection(proxy.address, reconnect="auto", gaps="return") as client:
            client.send(b"1")
            client.flush(10)
            old = rig.backend.heard_on[client.client_id]
            way.refusing = True
            way.cut_all()
            one.wait_for_log("the store at")
            proxy.point_to(two.address)
            proxy.cut_all()
            client.send(b"2")
            client.flush(20)
            wait_until(lambda: b"2" in rig.backend.got[client.client_id], "it to arrive")
            if ends == "expired":
                until = time.monotonic() + 3
                wait_until(lambda: driven(client) and time.monotonic() > until, "the old copy to end")
            else:
                for number in range(5):
                    rig.backend.send(client.client_id, b"%d" % number, old)
                rig.backend.send(987654, b"fence", old)
                wait_until(lambda: (987654, "Client not found") in rig.backend.failures, "them to be there")
            way.refusing = False
            one.wait_for_log("the store at", 2)
            proxy.point_to(one.address)
            proxy.cut_all()
            client.send(b"3")
            client.flush(60)  # a store that was away is not believed at once
            wait_until(lambda: rig.backend.got[client.client_id] == [b"1", b"2", b"3"], "all to arrive")
        told = {reason for client_id, reason in rig.backend.failures if client_id == client.client_id}
        assert told <= {"Client moved", "Client disconnected"}
        assert rig.backend.failures.count((client.client_id, "Client disconnected")) <= 1, "by its own end only"


def test_more_than_goes_along_ends_a_client_of_version_2() -> None:
    """It could not be told of the hole."""
    with ClusterRig(settings={"cluster.retained_bytes": 1000}) as rig:
        one, two = rig.servers
        client = RawClient.new(one.address)
        client.send(b"1")
        wait_until(lambda: rig.backend.got[client.client_id] == [b"1"], "it to arrive")
        client.leave()
        one.wait_for_log("peer closed")
        for number in range(3):
            rig.backend.send(client.client_id, b"%d" % number * 500)
        rig.backend.send(987654, b"fence", rig.backend.heard_on[client.client_id])
        wait_until(lambda: (987654, "Client not found") in rig.backend.failures, "them to be there")
        client.address = two.address
        with pytest.raises(EOFError):
            client.come_back()
        wait_until(lambda: (client.client_id, "Client disconnected") in rig.backend.failures, "the master to know")


def test_what_a_drained_connection_has_brought_goes_in_front() -> None:
    """Its client is at another server by then."""
    settings: dict[str, object] = {
        "clients.packet_rate": 50,
        "clients.rate_policy": "throttle",
        "admin.address": "127.0.0.1:0",
    }
    with ClusterRig(settings=settings) as rig:
        one, two = rig.servers
        sent = [b"%d" % number for number in range(200)]
        client = RawClient.new(one.address)
        client.send(*sent)
        wait_until(lambda: len(rig.backend.got[client.client_id]) >= 50, "some to arrive")
        assert one.stats["clients"]["live"] == 1
        place = re.search(r"the admin endpoint is at (\S+)", one.log)[1]  # type: ignore[index]
        request = urllib.request.Request(f"http://{place}/drain?rate=100&notice=0", method="POST")
        urllib.request.urlopen(request, timeout=10).close()
        assert client.fill() is False, "it was told to go"
        client.send(b"late")
        client.address = two.address
        deadline = time.monotonic() + 20
        while True:
            try:
                client = client.come_back()
                break
            except (OSError, EOFError):
                assert time.monotonic() < deadline
        client.send(b"new")
        wait_until(lambda: rig.backend.got[client.client_id] == [*sent, b"late", b"new"], "all, and in order")
        client.close()


class Aside:
    """A server with a master of its own, which takes nothing until the test reads, beside those of the rig."""

    def __init__(self, rig: ClusterRig, **settings: object) -> None:
        self.master = RawMaster(receive_buffer=4096)
        self.server = ServerProcess(
            self.master.address, {**rig.settings, "general.node": 7, "master.outbox_bytes": 1 << 20, **settings}
        )
        self.master.accept()

    def close(self) -> None:
        self.server.close()
        self.master.close()

    def got(self, client_id: int) -> list[bytes]:
        """Everything that has come, to the end of the connection."""
        self.master.rest()
        return [packet.data for packet in self.master.inbox if packet.client_id == client_id and packet.flag == 0]


def unwritten(server: ServerProcess) -> bool:
    """Whether something waits for its master: then clients are not read."""
    return "outbox is full" in server.log


def account(client: Connection, sent: list[bytes], *places: list[bytes]) -> None:
    """Nothing came twice, and what did not come was told."""
    uncertain: set[bytes] = set()
    deadline = time.monotonic() + 10
    arrived: list[bytes] = []
    while time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            item = client.recv(0.1)
            if isinstance(item, Uncertain):
                uncertain.update(item.packets)
        arrived = [packet for place in places for packet in place]
        if set(sent) <= set(arrived) | uncertain:
            break
    assert len(arrived) == len(set(arrived)), "something came twice"
    assert set(sent) <= set(arrived) | uncertain, "something was lost without a word"


@pytest.mark.parametrize("how", ["asked", "ends"])
def test_a_master_that_takes_nothing_while_a_session_is_wanted(rig: ClusterRig, how: str) -> None:
    """What its server could not write when it gave the session up, or had to, may have arrived or not: that is told,
    and nothing comes twice."""
    aside = Aside(rig)
    proxy = rig.proxy()
    try:
        proxy.point_to(aside.server.address)
        sent = [b"%05d" % number + bytes(600) for number in range(10_000)]  # many in each turn
        with Connection(proxy.address, reconnect="auto", gaps="return") as client:
            for packet in sent:
                client.send(packet, 10)
            wait_until(lambda: driven(client) and unwritten(aside.server), "the master to be full")
            proxy.point_to(rig.servers[1].address)
            if how == "asked":
                proxy.cut_all()
            else:
                aside.server.process.send_signal(signal.SIGTERM)
                aside.server.process.wait(60)
                proxy.cut_all()
            last = b"last"
            client.send(last, 30)
            client.flush(30)
            if how == "asked":
                aside.server.process.send_signal(signal.SIGTERM)
            client_id = client.client_id
            account(client, [*sent, last], aside.got(client_id), rig.backend.got[client_id])
    finally:
        aside.close()


def test_no_secret_stands_in_the_store_or_the_log(rig: ClusterRig) -> None:
    """What a client proves itself with, what is kept for it, and the keys of the servers: whoever reads the store has
    none of it."""
    one = rig.servers[0]
    proxy = rig.proxy()
    waiting = b"a packet that waits for its client"
    with Connection(proxy.address) as client, contextlib.closing(RawClient.new(one.address)) as other:
        other.send(b"hello")
        client.send(b"up with it")
        client.flush(10)
        state = client.state()
        proxy.cut_all()
        one.wait_for_log("peer closed")
        rig.backend.send(client.client_id, waiting)
        rig.backend.send(other.client_id, b"behind it")
        assert other.recv() == b"behind it"
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(20) == 0
        wait_until(lambda: len(rig.row(client.client_id)["retained"]) > len(waiting), "it to be in the store")
        said = dump_of(rig) + one.log.encode()
        sealer = Sealer(SECRET)
        opened = sealer.open("server keys", b"", rig.store.ask("GET", "voltlane:keys"))  # type: ignore[arg-type]
        for secret in (SECRET.encode(), waiting, opened[1:33], opened[33:]):
            assert secret not in said and secret.hex().encode() not in said
        # The server's public key and what an opening is known by are no secrets; all else of a client's state may be.
        secrets = state.replace(client.server_key, b"")
        for handle in re.findall(b"opening:([0-9a-f]{32})", said):
            secrets = secrets.replace(bytes.fromhex(handle.decode()), b"")
        windows = {secrets[at : at + 16] for at in range(len(secrets) - 15)}
        assert len(windows) > 32
        for window in windows:
            if len(set(window)) > 4:  # numbers are mostly zeros
                assert window not in said and window.hex().encode() not in said


def dump_of(rig: ClusterRig) -> bytes:
    """Everything that the store has."""
    keys = rig.store.ask("KEYS", "*")
    assert isinstance(keys, list) and keys
    parts: list[bytes] = list(keys)
    for key in keys:
        kind = rig.store.ask("TYPE", key)
        found = rig.store.ask("HGETALL", key) if kind == b"hash" else [rig.store.ask("GET", key)]
        parts += [word for word in found if isinstance(word, bytes)]  # type: ignore[union-attr]
    return b"\n".join(parts)
