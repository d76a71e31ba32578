"""Sessions outlive the process (`general.state_dir`): the real server, stopped, killed and started again."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Callable

import pytest
from kit.process import BackendProcess, Process, ServerProcess, environment, usual
from kit.raw_client import RawClient, frame
from kit.raw_master import DATA, FAILURE, RECONNECTION, RawMaster

from voltlane.client import Connection


class Home:
    """One place for servers that follow one another: its address, its state directory, its master."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path = path
        self.state = path / "state"
        self.address = f"unix:{path}/clients"
        self._stack = stack
        self.master = stack.enter_context(RawMaster(receive_buffer=1 << 16))
        self.server: ServerProcess

    def start(self, **settings: object) -> ServerProcess:
        """The next server, once it has connected to the master."""
        self.server = self.begin(**settings)
        self.master.accept()
        assert self.server.address == self.address
        return self.server

    def begin(self, **settings: object) -> ServerProcess:
        """The next server, as it is."""
        given = {
            "general.state_dir": self.state,
            "listener.address": self.address,
            **{name.replace("__", "."): value for name, value in settings.items()},
        }
        return self._stack.enter_context(ServerProcess(self.master.address, given))

    def new(self) -> RawClient:
        return self._keep(RawClient.new(self.address))

    def back(self, client: RawClient) -> RawClient:
        return self._keep(client.come_back())

    def _keep(self, client: RawClient) -> RawClient:
        self._stack.callback(client.close)
        return client


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with ExitStack() as stack:
        yield Home(tmp_path, stack)


def test_after_a_kill_clients_resume_as_themselves(home: Home) -> None:
    home.start()
    live, stale = home.new(), home.new()
    assert stale.leave() == []
    home.server.kill()
    home.start()
    for client in (live, stale):
        again = home.back(client)
        assert again.client_id == client.client_id and again.server_point == client.server_point
        assert home.master.recv() == (client.client_id, RECONNECTION, b"")
        again.send(b"up")
        assert home.master.recv() == (client.client_id, DATA, b"up")
        home.master.send(client.client_id, b"down")
        assert again.recv() == b"down"


def test_no_id_is_given_out_twice_however_often_it_is_killed(home: Home) -> None:
    ids: list[int] = []
    for _ in range(4):
        home.start()
        ids += [home.new().client_id for _ in range(3)]
        home.server.kill()
    assert len(set(ids)) == len(ids) and ids == sorted(ids)


def test_killed_under_load_nobody_loses_itself(home: Home, tmp_path: Path) -> None:
    """Clients with a pinned key, in the middle of talking to a backend that answers all they say."""
    with ExitStack() as stack:
        backend = stack.enter_context(BackendProcess())
        home.master.address = backend.address
        server = home.begin()
        assert server.address == home.address
        first = stack.enter_context(Connection(home.address, protocol=2))
        clients = [first] + [
            stack.enter_context(Connection(home.address, protocol=2, server_key=first.server_key)) for _ in range(9)
        ]
        ids = [client.client_id for client in clients]
        heard: list[list[int]] = [[] for _ in clients]
        for number in range(300):
            for client in clients:
                client.send(b"%d" % number)
            if number % 100 == 50:
                server.kill()
                server = home.begin()
                assert server.address == home.address
                for client, numbers in zip(clients, heard):
                    client.reconnect()
                    numbers += drain(client)
                newcomer = stack.enter_context(Connection(home.address, protocol=2, server_key=first.server_key))
                assert newcomer.client_id not in ids
                ids.append(newcomer.client_id)
        for client, numbers in zip(clients, heard):
            while not numbers or numbers[-1] != 299:
                numbers.append(int(client.recv(10)))
            assert sorted(set(numbers)) == numbers, "in order, and none twice"
        assert [client.client_id for client in clients] == ids[:10] and len(set(ids)) == len(ids)


def drain(client: Connection) -> list[int]:
    """What has come by now."""
    found = []
    while True:
        try:
            found.append(int(client.recv(0)))
        except TimeoutError:
            return found


def test_a_session_that_is_over_when_the_server_comes_back_is_announced_as_usual(home: Home) -> None:
    home.start()
    client = home.new()
    home.server.kill()
    home.start(clients__stale_timeout_secs=0)
    assert home.master.recv() == (client.client_id, FAILURE, b"Client disconnected")
    with pytest.raises(EOFError):
        home.back(client)
    assert home.new().client_id > client.client_id


# ---- stopped in order


def test_after_a_stop_nothing_is_lost_from_any_backlog(home: Home) -> None:
    home.start(general__shutdown_secs=0.2)
    away, slow = home.new(), home.new()
    assert away.leave() == []
    home.master.send(away.client_id, b"1", b"22", b"")
    missed = [b"%d" % number + b"." * 10_000 for number in range(200)]
    home.master.send(slow.client_id, *missed)  # who reads none of it: most of it is in the outbox when the server ends
    home.master.fence()
    home.server.process.terminate()
    home.master.await_end()
    assert home.server.wait() == 0
    assert (home.state / "backlogs").exists()
    home.start()
    assert home.back(away).recv_many(3) == [b"1", b"22", b""]
    assert (home.state / "backlogs").exists(), "until all of it is delivered"
    received = list(slow.rest())
    again = home.back(slow)
    assert not (home.state / "backlogs").exists()
    received += again.recv_many(len(missed) - len(received))
    assert received == missed


def test_after_a_stop_the_next_master_connection_brings_what_waited_for_it(home: Home) -> None:
    """A master that does not read, and a server that does not wait for it."""
    home.start(general__shutdown_secs=0.2, master__outbox_bytes=1 << 25)
    client = home.new()
    sent = [b"%d" % number + b"." * 20_000 for number in range(800)]  # more than kernels take
    client.send(*sent)
    assert client.leave() == []
    assert home.server.stop() == 0
    assert (home.state / "backlogs").stat().st_mode & 0o777 == 0o600
    cut = home.master.rest()
    arrived = [packet.data for packet in home.master.waiting_for(client.client_id)]
    assert len(arrived) < len(sent)
    home.start()
    arrived += home.master.recv_data(client.client_id, len(sent) - len(arrived))
    assert arrived == sent and len(cut) < 20_100


def away_with_something_waiting(home: Home) -> RawClient:
    """A client that is away, for whom the server has a packet; its master is gone."""
    home.start()
    client = home.new()
    assert client.leave() == []
    home.master.send(client.client_id, b"missed")
    home.master.fence()
    home.master.drop()
    return client


def left_with_something_waiting(home: Home) -> RawClient:
    """The same, and the server was stopped."""
    client = away_with_something_waiting(home)
    assert home.server.stop() == 0
    return client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ended_again_and_again_while_it_starts_it_keeps_what_waits(home: Home, number: signal.Signals) -> None:
    """From before its first line until it listens, and beyond."""
    client = left_with_something_waiting(home)
    home.master.stop_listening()
    codes = set()
    for milliseconds in range(0, 400, 20):
        server = home.begin()
        try:
            server.process.wait(milliseconds / 1000)
        except subprocess.TimeoutExpired:
            server.process.send_signal(number)
        codes.add(server.wait())
    # Before its first line it has no say in it.
    assert codes <= ({-number, 0} if number == signal.SIGTERM else {-number})
    home.master.listen_again()
    home.start()
    assert home.back(client).recv() == b"missed"


SIGNALLED_AT_EACH_SYNC = """
import os, signal, sys
from voltlane.store.directory import StateDirectory
from voltlane.__main__ import main
real = StateDirectory.sync
def sync(directory):
    real(directory)
    os.kill(os.getpid(), signal.SIGTERM)
StateDirectory.sync = sync
sys.exit(main())
"""


def test_a_signal_just_when_its_start_has_changed_the_directory_costs_nothing(home: Home) -> None:
    client = left_with_something_waiting(home)
    home.master.stop_listening()
    settings = {"general.state_dir": home.state, "listener.address": home.address}
    with Process(["-c", SIGNALLED_AT_EACH_SYNC], environment(usual(home.master.address, settings))) as server:
        assert server.wait() == 0, server.log
    home.master.listen_again()
    home.start()
    assert home.back(client).recv() == b"missed"


def test_what_waited_outlives_a_kill_until_it_is_delivered_and_is_never_delivered_twice(home: Home) -> None:
    client = left_with_something_waiting(home)
    for _ in range(2):
        home.start()
        home.new()
        home.server.kill()
    home.start()
    again = home.back(client)
    assert again.recv() == b"missed"
    home.server.kill()
    home.start()
    once_more = home.back(again)
    home.master.send(client.client_id, b"new")
    assert once_more.recv() == b"new"


def test_ids_go_on_upwards_after_a_stop(home: Home) -> None:
    home.start()
    before = home.new().client_id
    home.master.drop()
    assert home.server.stop() == 0
    home.start()
    assert home.new().client_id > before


# ---- refused


def ends_with(server: ServerProcess, code: int) -> str:
    assert server.wait() == code, server.log
    assert "Traceback" not in server.log
    return server.log


def test_two_servers_do_not_share_a_directory(home: Home) -> None:
    home.start()
    log = ends_with(home.begin(listener__address="127.0.0.1:0"), 3)
    assert f"{home.state} is in use by another server (process {home.server.pid})" in log
    assert "--listen" not in log
    client = home.new()
    client.send(b"still here")
    assert home.master.recv() == (client.client_id, DATA, b"still here")


def damage_in_the_middle(state: Path) -> str:
    data = bytearray((state / "sessions.journal").read_bytes())
    data[len(data) // 2] ^= 1
    (state / "sessions.journal").write_bytes(data)
    return "sessions.journal is damaged"


def another_format(state: Path) -> str:
    (state / "sessions.journal").write_bytes(b"something else, and long enough to have a head of a journal, all in all")
    return "does not begin like a file of this kind"


def readable_for_all(state: Path) -> str:
    (state / "server.key").chmod(0o644)
    return f"{state}/server.key is accessible for others (mode 644)"


def readable_journal(state: Path) -> str:
    (state / "sessions.journal").chmod(0o640)
    return f"chmod 600 {state}/sessions.journal"


def no_key(state: Path) -> str:
    (state / "server.key").unlink()
    return "server.key is missing"


def open_directory(state: Path) -> str:
    state.chmod(0o777)
    return f"{state} is writable for others"


@pytest.mark.parametrize(
    "spoil", [damage_in_the_middle, another_format, readable_for_all, readable_journal, no_key, open_directory]
)
def test_what_cannot_be_trusted_is_refused_with_what_to_do(home: Home, spoil: Callable[[Path], str]) -> None:
    home.start()
    home.new()
    home.master.drop()
    assert home.server.stop() == 0
    message = spoil(home.state)
    before = {path.name: path.read_bytes() for path in home.state.iterdir() if path.name != "lock"}
    assert message in ends_with(home.begin(), 2)
    assert {path.name: path.read_bytes() for path in home.state.iterdir() if path.name != "lock"} == before


def test_a_record_that_a_crash_has_cut_is_said_and_left_out(home: Home) -> None:
    home.start()
    kept, cut = home.new(), home.new()
    home.server.kill()
    journal = home.state / "sessions.journal"
    os.truncate(journal, journal.stat().st_size - 5)
    home.start()
    assert "bytes were cut by a crash" in home.server.log
    assert home.back(kept).client_id == kept.client_id
    with pytest.raises(EOFError):
        home.back(cut)
    assert home.new().client_id > cut.client_id


# ---- a disk that is full


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process can be set on Linux only")
def test_on_a_full_disk_it_lives_and_writes_when_it_can(home: Home) -> None:
    home.start()
    for _ in range(20):
        home.new()
    pid, journal = home.server.pid, home.state / "sessions.journal"
    # Standard error is a file too, and longer than that already; what is lost of it nobody misses here.
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (journal.stat().st_size, resource.RLIM_INFINITY))
    client = home.new()
    client.send(b"unwritten")
    assert home.master.recv() == (client.client_id, DATA, b"unwritten")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    home.server.wait_for_log("sessions.journal is written again")
    home.server.kill()
    home.start()
    assert home.back(client).client_id == client.client_id


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process can be set on Linux only")
def test_what_a_full_disk_costs_at_the_end_is_in_the_exit_code(home: Home) -> None:
    client = away_with_something_waiting(home)
    resource.prlimit(home.server.pid, resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
    assert home.server.stop() == 5
    home.start()
    again = home.back(client)  # sessions were written before
    home.master.send(client.client_id, b"new")
    assert again.recv() == b"new"


def test_without_a_directory_nothing_is_kept(home: Home) -> None:
    home.start(general__state_dir="")
    client = home.new()
    home.master.drop()
    assert home.server.stop() == 0
    assert not home.state.exists() and set(os.listdir(home.server.directory)) == {"connserver.toml", "log"}
    home.start(general__state_dir="")
    with pytest.raises(EOFError):
        home.back(client)
    assert home.new().client_id > client.client_id, "an id that came back would be somebody else's"


# ---- what clients send while the server is told to stop


class Talker:
    """A client that numbers its packets, sends without a break, and comes back when the server says that it goes."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.sent = 0

    def say(self) -> bool:
        """One packet more. Whether the connection stands."""
        try:
            self.client.sock.send(frame(b"%d" % self.sent), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.sent += 1
        return not select.select([self.client.sock], [], [], 0)[0]


NO_STATE = {"general.state_dir": ""}


@pytest.mark.parametrize("settings", [{}, {"clients.packet_rate": 20_000, "clients.byte_rate": 1 << 20}, NO_STATE])
def test_an_orderly_stop_loses_nothing_of_what_clients_have_sent(home: Home, settings: dict[str, object]) -> None:
    """Who stops sending when it hears of the end: all that it had sent is passed on, by this process or the next."""
    given = {name.replace(".", "__"): value for name, value in settings.items()}
    home.start(**given)
    talkers = [Talker(home.new()) for _ in range(10)]
    got: dict[int, list[int]] = {talker.client.client_id: [] for talker in talkers}
    for restart in range(4):
        stopping, standing = False, list(talkers)
        deadline = time.monotonic() + 20
        while standing and time.monotonic() < deadline:
            standing = [talker for talker in standing if talker.say()]
            hear(home.master)
            if not stopping and sum(talker.sent for talker in talkers) > 3000 * (restart + 1):
                home.server.process.send_signal(signal.SIGTERM)
                stopping = True
        assert not standing, "everybody heard of the end"
        for talker in talkers:
            talker.client.close()
        take(home, got)
        home.master.drop()
        assert home.server.wait() == 0
        if settings is NO_STATE:
            break
        home.start(**given)
        for talker in talkers:
            talker.client = home.back(talker.client)
    else:
        take(home, got, fence=True)
    assert got == {talker.client.client_id: list(range(talker.sent)) for talker in talkers}


def hear(master: RawMaster) -> None:
    """Read what there is."""
    assert master.link is not None
    while select.select([master.link], [], [], 0)[0] and master._fill(1):
        pass


def take(home: Home, got: dict[int, list[int]], fence: bool = False) -> None:
    """All that the master gets of a server: to the end of it, or to what is on its way now."""
    if fence:
        home.master.fence()
    else:
        home.master.await_end()
    while home.master.inbox:
        packet = home.master.inbox.popleft()
        if packet.flag == DATA:
            got[packet.client_id].append(int(packet.data))
