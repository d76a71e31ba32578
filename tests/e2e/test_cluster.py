"""Several servers that are one, with a real store: a client goes from one to another, whatever becomes of these."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest
from kit.cluster import ClusterRig
from kit.datagram_parties import ask, sealed_client
from kit.event_reader import EventReader, Sender
from kit.fault_proxy import FaultProxy
from kit.process import environment
from kit.raw_client import PING, Keys, RawClient, response
from kit.raw_records import RawRecordClient
from kit.wait import wait_until

from voltlane.backend import CLIENT_MOVED
from voltlane.client import Connection
from voltlane.errors import ConnectionLost, Uncertain


@pytest.fixture
def rig() -> Iterator[ClusterRig]:
    with ClusterRig() as rig:
        yield rig


def arrived(rig: ClusterRig, client_id: int, *data: bytes) -> None:
    wait_until(lambda: rig.backend.got[client_id] == list(data), f"{data!r} to arrive")


def there(rig: ClusterRig, client_id: int, data: bytes) -> None:
    """From then on the backend knows by which server the client has come last, and sends by that."""
    wait_until(lambda: data in rig.backend.got[client_id], f"{data!r} to arrive")


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
            assert got_or_told(rig, client, b"down %d" % number)
        expected = [b"1", *[word for n in (2, 3, 4) for word in (b"%d" % n, b"%d again" % n)]]
        arrived(rig, client.client_id, *expected)
        assert rig.row(client.client_id)["term"] == b"4"


def got_or_told(rig: ClusterRig, client: Connection, data: bytes) -> bool:
    """Whether it comes; where its old server was reached too late the master was told, and says it again."""
    told = (client.client_id, CLIENT_MOVED)
    wait_until(lambda: heard(client, data) or told in rig.backend.failures, "it to come, or to be told")
    if told not in rig.backend.failures:
        return True
    rig.backend.failures.remove(told)
    rig.backend.send(client.client_id, data)
    return client.recv(10) == data


def heard(client: Connection, data: bytes) -> bool:
    try:
        return client.recv(0.05) == data
    except TimeoutError:
        return False


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
        rig.backend.send(987654, b"fence", rig.backend.heard_on[client.client_id])
        wait_until(lambda: (987654, "Client not found") in rig.backend.failures, "the packets to be there")
        client.send(b"2")
        proxy.point_to(two.address)
        client.reconnect(10)
        assert [client.recv(10) for _ in range(5)] == [b"%d" % number for number in range(5)]
        arrived(rig, client.client_id, b"1", b"2")


def test_datagrams_go_on_by_the_server_that_has_the_session() -> None:
    """Its old server forgets their keys with the session; the client asks the new one."""
    settings: dict[str, object] = {"listener.address": "127.0.0.1:0, udp://127.0.0.1:0", "udp.as_data": "true"}
    with ClusterRig(settings=settings) as rig, contextlib.ExitStack() as stack:
        one, two = rig.servers
        client, wire = sealed_client(one.address)
        other, behind = sealed_client(one.address)
        for thing in (client, wire, other, behind):
            stack.callback(thing.close)
        wire.send(b"at first")
        arrived(rig, client.client_id, b"at first")
        expected = [b"at first"]
        for server in (two, one, two):
            client = RawRecordClient(server.address, client.session).enter()
            stack.callback(client.close)
            again = ask(client)
            stack.callback(again.close)
            again.send(b"under new keys")
            expected.append(b"under new keys")
            arrived(rig, client.client_id, *expected)
        before = len(rig.backend.got[other.client_id])
        wire.send(b"under keys that one has forgotten")
        behind.send(b"behind that")
        wait_until(lambda: len(rig.backend.got[other.client_id]) > before, "what came behind it")
        arrived(rig, client.client_id, *expected)


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
        # It may be written to the server that is dead, which the client cannot know yet: then it is told as uncertain.
        client.send(b"1", 10)
        client.flush(10)
        client.send(b"2", 10)
        there(rig, client.client_id, b"2")
        rig.backend.send(client.client_id, b"down")
        while True:
            item = client.recv(10)
            told.append(item)
            if item == b"down":
                break
        # Each in its place: the gap among packets for the client, and what became of its own when that was known.
        names = [type(item).__name__ for item in told]
        assert names[-1] == "bytes" and sorted(names[:-1]) in (["Gap"], ["Gap", "Uncertain"])
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
        there(rig, client.client_id, b"%d" % number)
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


@pytest.mark.parametrize("given_up", [False, True])
def test_what_a_client_of_version_2_has_got_is_not_sent_again_by_the_next_server(
    rig: ClusterRig, given_up: bool
) -> None:
    """What waited for it was in the store, and is not once its client is back: the server that handed it on may die."""
    first, second = rig.servers
    third = rig.add(2) if given_up else second
    client = RawClient.new(first.address)
    client.send(b"1")
    there(rig, client.client_id, b"1")
    client.leave()
    first.wait_for_log("peer closed")
    rig.backend.send(client.client_id, b"missed")
    rig.backend.send(987654, b"fence", rig.backend.heard_on[client.client_id])
    wait_until(lambda: (987654, "Client not found") in rig.backend.failures, "the packet to be there")
    server = second if given_up else first
    client = come_back(client, server.address)
    assert client.recv() == b"missed"
    client.send(b"2")
    there(rig, client.client_id, b"2")
    server.kill()
    client = come_back(client, third.address)
    client.send(b"3")
    there(rig, client.client_id, b"3")
    rig.backend.send(client.client_id, b"new")
    assert client.recv() == b"new"
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


def test_in_order_nothing_is_lost_and_nobody_waits(rig: ClusterRig) -> None:
    """A server that ends gives up what it has: others go on with it as it was."""
    one, two = rig.servers
    proxy = rig.proxy()
    with Connection(proxy.address, reconnect="auto") as client:
        for number in range(500):
            client.send(b"%d" % number)
        proxy.point_to(two.address)
        assert one.stop() == 0
        client.send(b"500")
        client.flush(10)
        there(rig, client.client_id, b"500")
        rig.backend.send(client.client_id, b"down")
        assert client.recv(10) == b"down"
        arrived(rig, client.client_id, *[b"%d" % number for number in range(501)])


def test_by_force_from_a_server_that_does_not_answer() -> None:
    """It is fenced when it goes on: its client stays where it is, and the master is told of what went astray."""
    with ClusterRig(settings={"cluster.lease_secs": 60.0, "cluster.give_up_secs": 0.5}) as rig:
        one, two = rig.servers
        proxy = rig.proxy()
        with Connection(proxy.address, reconnect="auto", gaps="return") as client:
            client.send(b"1")
            client.flush(10)
            first_link = rig.backend.heard_on[client.client_id]
            one.process.send_signal(signal.SIGSTOP)
            try:
                proxy.point_to(two.address)
                proxy.cut_all()
                client.send(b"2")
                client.flush(10)
                assert rig.row(client.client_id)["term"] == b"2"
            finally:
                one.process.send_signal(signal.SIGCONT)
            wait_until(lambda: tell_by(rig, client, first_link), "the old server to know that it has moved")
            client.send(b"3")
            client.flush(10)
            there(rig, client.client_id, b"3")
            rig.backend.send(client.client_id, b"down")
            assert next(item for item in iter(lambda: client.recv(10), None) if isinstance(item, bytes)) == b"down"
            arrived(rig, client.client_id, b"1", b"2", b"3")


def tell_by(rig: ClusterRig, client: Connection, link: object) -> bool:
    """Send by way of the old server; whether it says that the client has moved."""
    rig.backend.send(client.client_id, b"astray", link)
    time.sleep(0.02)
    return (client.client_id, "Client moved") in rig.backend.failures


def test_the_store_is_gone_and_comes_back_empty(rig: ClusterRig) -> None:
    """Who is connected goes on, and who comes back to its own server resumes; elsewhere it is told to try again."""
    one, two = rig.servers
    proxy = rig.proxy()
    with Connection(proxy.address, reconnect="auto") as client, Connection(two.address) as other:
        client.send(b"1")
        client.flush(10)
        rig.store.kill()
        one.wait_for_log(" is gone: ", 2)  # closed or reset, by what it had not read
        client.send(b"2")
        client.flush(10)
        proxy.cut_all()
        client.send(b"3")
        client.flush(10)
        other.send(b"other")
        other.flush(10)
        proxy.point_to(two.address)
        proxy.cut_all()
        with pytest.raises(TimeoutError):
            client.recv(0.3)
        assert "the store is away" in two.log
        rig.store.start()
        client.send(b"4")
        client.flush(20)
        arrived(rig, client.client_id, b"1", b"2", b"3", b"4")
        wait_until(lambda: rig.row(other.client_id).get("owner", b"").startswith(b"1:"), "it to be written again")
    assert not rig.backend.failures or {reason for _, reason in rig.backend.failures} == {"Client disconnected"}


@pytest.mark.parametrize("protocol", [2, 3])
def test_over_websockets(protocol: int) -> None:
    with ClusterRig(settings={"listener.address": "ws://127.0.0.1:0"}) as rig:
        one, two = rig.servers
        proxy = rig.proxy()
        with Connection("ws://" + proxy.address, protocol=protocol) as client:
            for number, server in enumerate((one, two, one)):  # (it is there at first)
                if number:
                    proxy.point_to(server.address.removeprefix("ws://"))
                    come_back_to(client)
                client.send(b"%d" % number)
                arrived(rig, client.client_id, *[b"%d" % one for one in range(number + 1)])
                rig.backend.send(client.client_id, b"down %d" % number)
                assert client.recv(10) == b"down %d" % number


def test_readiness_says_that_the_store_is_away() -> None:
    """And the server stays ready: it is of use."""
    with ClusterRig(servers=0, settings={"admin.address": "127.0.0.1:0"}) as rig:
        server = rig.add(0)
        server.wait_for_log("the admin endpoint is at ")
        admin = re.search(r"the admin endpoint is at (\S+)", server.log)[1]  # type: ignore[index]

        def said(page: str) -> str:
            with urllib.request.urlopen(f"http://{admin}/{page}", timeout=10) as answer:
                return str(answer.read().decode())

        assert said("readyz").strip() == "ready" and "voltlane_store_up 1.0" in said("metrics")
        rig.store.kill()
        wait_until(lambda: "without the store" in said("readyz"), "it to be said")
        assert "voltlane_store_up 0.0" in said("metrics")
        rig.store.start()
        wait_until(lambda: said("readyz").strip() == "ready", "it to be back")


def driven(client: Connection) -> bool:
    """Nothing happens between a client's calls. (It is told of a gap, if there is one.)"""
    with contextlib.suppress(TimeoutError):
        client.recv(0.05)
    return True


def come_back_to(client: Connection) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            client.reconnect(10)
            return
        except ConnectionLost:
            assert time.monotonic() < deadline


class TestPartition:
    """A server that cannot reach the store goes on with who is connected to it, and does nobody any harm."""

    @pytest.fixture
    def cut_off(self) -> Iterator[tuple[ClusterRig, FaultProxy]]:
        """Two servers; the first reaches the store by way of a proxy."""
        with ClusterRig(servers=0) as rig, FaultProxy(rig.store.address) as way:
            rig.add(0, **{"cluster.url": f"redis://{way.address}"})
            rig.add(1)
            yield rig, way

    def test_another_one_takes_over_when_its_lease_is_over(self, cut_off: tuple[ClusterRig, FaultProxy]) -> None:
        """And where its client comes back to it, it does not say that there is no such session."""
        rig, way = cut_off
        one, two = rig.servers
        proxy = rig.proxy()
        with Connection(proxy.address, reconnect="auto", gaps="return") as client:
            client.send(b"1")
            client.flush(10)
            way.refusing = True
            way.cut_all()
            one.wait_for_log("the store at")
            client.send(b"2")
            client.flush(10)  # it goes on
            proxy.point_to(two.address)
            proxy.cut_all()
            client.send(b"3")
            client.flush(20)
            assert rig.row(client.client_id)["term"] == b"2"
            proxy.point_to(one.address)
            proxy.cut_all()
            client.send(b"4")
            wait_until(lambda: driven(client) and "its session" in one.log, "it to be told to come back")
            way.refusing = False
            client.flush(20)
            got = rig.backend.got[client.client_id]
            assert got == [b"1", b"2", b"3", b"4"]
            row = rig.row(client.client_id)
            assert row["owner"].startswith(b"0:") and row["term"] == b"3"


def test_a_store_that_is_full(rig: ClusterRig) -> None:
    """It takes nothing more: who is here stays here, and it is written down when there is room."""
    one, two = rig.servers
    proxy = rig.proxy()
    with Connection(proxy.address, reconnect="auto") as client:
        client.send(b"1")
        client.flush(10)
        rig.store.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        rig.store.ask("CONFIG", "SET", "maxmemory", "1")
        proxy.cut_all()
        client.send(b"2")
        client.flush(10)
        one.wait_for_log("OOM")
        with Connection(one.address) as other:
            other.send(b"new")
            other.flush(10)
            rig.store.ask("CONFIG", "SET", "maxmemory", "0")
            wait_until(lambda: rig.row(other.client_id), "the new one to be written")
        proxy.point_to(two.address)
        proxy.cut_all()
        client.send(b"3")
        client.flush(20)
        arrived(rig, client.client_id, b"1", b"2", b"3")


def test_a_session_is_opened_once_though_its_welcome_was_lost(rig: ClusterRig) -> None:
    """The same opening at another server is the same session."""
    one, two = rig.servers
    first = RawRecordClient(one.address)
    first.say(first.endpoint.hello())
    first.step()  # the server's hello; what it wants is said behind that
    one.wait_for_log(", new")
    first.close()
    again = RawRecordClient(two.address, first.session).enter()
    again.send(b"1")
    arrived(rig, again.client_id, b"1")
    row = rig.row(again.client_id)
    assert row["owner"].startswith(b"1:") and row["term"] == b"2"
    again.close()


@pytest.mark.parametrize("killed", [False, True])
def test_a_stream_of_events_goes_on_at_another_server(killed: bool) -> None:
    """And a packet that is sent beside it may come by any of them."""
    with ClusterRig(settings={"listener.address": "ws://127.0.0.1:0"}) as rig:
        one, two = rig.servers
        with EventReader(one.address).begin() as reader:
            client_id = reader.client_id
            with Sender(two.address, reader.token) as sender:
                assert sender.post(b"beside") == 202
            arrived(rig, client_id, b"beside")
            rig.backend.send(client_id, b"by the one that has it not", rig.backend.heard_on[client_id])
            wait_until(
                lambda: rig.backend.failures == [(client_id, CLIENT_MOVED)], "the master to know where it is not"
            )
            first_link = rig.backend.firehose.links[0]
            rig.backend.send(client_id, b"1", first_link)
            reader.read_until(lambda: reader.got == [b"1"], "the first")
            if killed:
                one.kill()
            reader.address = two.address
            reader.close()
            reader.read_until(lambda: len(reader.sessions) == 2, "it to be back")
            rig.backend.send(client_id, b"2")
            reader.read_until(lambda: reader.got == [b"1", b"2"], "the second")
            assert {told["client_id"] for told in reader.sessions} == {client_id}


def test_who_has_not_proven_anything_moves_nothing(rig: ClusterRig) -> None:
    """Whoever knows an id may claim it at another server: its owner does not even hear of that."""
    one, two = rig.servers
    client = RawClient.new(one.address)
    stranger = RawClient(two.address, keys=Keys())
    blob = stranger.begin_resume(client.client_id)
    stranger.send_raw(response(bytes(len(blob))) + PING)
    assert list(stranger.rest()) == []
    row = rig.row(client.client_id)
    assert row["term"] == b"1" and row["owner"].startswith(b"0:")
    client.send(b"1")
    arrived(rig, client.client_id, b"1")
    client.close()


class TestWhileTheStoreIsAsked:
    def test_a_client_that_leaves_meanwhile_leaves_nothing(self, rig: ClusterRig) -> None:
        one, _ = rig.servers
        rig.store.pause()
        client = RawRecordClient(one.address)
        client.say(client.endpoint.hello())
        client.step()  # what it wants is said; that is looked up first
        client.close()
        rig.store.go_on()
        with Connection(one.address) as other:  # which comes behind it
            other.send(b"1")
            other.flush(10)
            keys = rig.store.ask("KEYS", "voltlane:session:*")
            assert isinstance(keys, list)
            live = [key for key in keys if rig.store.ask("HGET", key, "state") == b"live"]
            assert live == [b"voltlane:session:%d" % other.client_id]

    def test_a_store_that_does_not_answer_holds_nobody_up_for_long(self, rig: ClusterRig) -> None:
        """It goes on without it."""
        one, _ = rig.servers
        rig.store.pause()
        try:
            with Connection(one.address) as client:
                client.send(b"1")
                client.flush(10)
                arrived(rig, client.client_id, b"1")
        finally:
            rig.store.go_on()


def test_a_server_that_is_alone_has_nothing_of_it() -> None:
    """Not even its code."""
    code = (
        "import sys; from voltlane import config; from voltlane.server import Server; "
        "Server(config.defaults()); "
        "print([name for name in sys.modules if name.startswith('voltlane.cluster.sessions') or name == 'hiredis'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment({}), stdout=subprocess.PIPE, check=True, timeout=30
    )
    assert done.stdout.strip() == b"[]"
