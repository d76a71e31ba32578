"""The process that plays clients; there may be several, each with its share of them."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from .board import DONE, PACKETS, PREPARED, QUIT, READY, ROUNDS, RUN, SENT, STOP, WARM, Board
from .traffic import Cycle, Follower, client_cycle, hello
from .wires import Fault
from .workloads import CONNECT_SLOTS, Job

OPENING = 128
"""Handshakes under way at once, per process, while the clients of a run connect."""
SOURCES = 16
"""Loopback addresses that clients come from, so that they do not run out of ports."""
ADAPT_SECS = 0.05
UNDER_WAY_SECS = 0.5
RECEIVE = 1 << 18
SEND_BUFFER = 1 << 17
LATENCIES = 1 << 20
BURST_SECS = 0.01
"""At a fixed rate, so much of it is sent at once, for a server to have the same to do each time it wakes up."""
AHEAD = 1000
"""Packets that may be under way, besides one per client, when a server does not keep up with a fixed rate."""
IP_BIND_ADDRESS_NO_PORT = 24  # a name for it came with Python 3.12 only

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class Client:
    """One connection. `cycle` is what it sends, and what `follower` expects; `view` is made for slices of it."""

    __slots__ = ("cycle", "follower", "got", "index", "marked", "marked_at", "said", "sent", "sock", "view")

    sock: socket.socket
    cycle: bytes
    follower: Follower
    view: memoryview

    def __init__(self, index: int) -> None:
        self.index = index
        self.said = False
        """Whether its side of the handshake has been sent."""
        self.got = b""
        """Of the server's answer."""
        self.sent = 0
        """Ingest: bytes. Echo: packets."""
        self.marked = 0
        """When so many packets have come back, the time since `marked_at` is a round trip."""
        self.marked_at = 0.0


class Clients:
    """A process's share of the clients, and what they do."""

    def __init__(self, job: Job, port: int, board: Board, slot: int) -> None:
        self.job = job
        self.board = board
        self.own = board.workers[slot]
        self.step = len(board.workers) - 1
        self.indices = range(slot - 1, job.clients, self.step)
        self.slot = slot
        self.parent = os.getppid()
        self.server = ("127.0.0.1", port)
        self.poller = select.epoll()
        self.by_fd: dict[int, Client] = {}
        self.buffer = bytearray(RECEIVE)
        self.latencies: list[float] = []
        self.known = 0, time.monotonic()
        """How many packets the backend had got, and when that was."""

    def run(self) -> dict[str, Any]:
        """The whole part of this process. What it has to report."""
        if self.job.mode == "connect":
            self.own[PREPARED] = 1
            self._await(WARM)
            return self._connect()
        self.clients = [Client(index) for index in self.indices]
        self._open(self.clients)
        self.active = [client for client in self.clients if client.index < self.job.active]
        cycle = client_cycle(self.job.wire, self.job.sizes)
        for client in self.active:
            client.cycle = cycle.of(client.index)
            client.follower = Follower(client.cycle)
            client.view = memoryview(client.cycle * 2 if self.job.mode in ("echo", "paced") else client.cycle)
        self.own[PREPARED] = 1
        self._await(WARM)
        play = {"ingest": self._ingest, "fanout": self._fanout, "idle": self._idle}.get(self.job.mode, self._echo)
        report = play(cycle)
        self.own[DONE] = 1
        self._await(QUIT)
        return report

    def _await(self, phase: int) -> None:
        while self.board.phase[0] < phase:
            time.sleep(0.002)
            if os.getppid() != self.parent:
                raise Fault("left alone")

    # ---- connecting

    def _begin(self, client: Client) -> None:
        sock = client.sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.0.{1 + client.index % SOURCES}", 0))
        failure = sock.connect_ex(self.server)
        if failure not in (0, errno.EINPROGRESS):
            raise Fault(f"cannot connect: {os.strerror(failure)}")
        self.by_fd[sock.fileno()] = client
        self.poller.register(sock.fileno(), _OUT)

    def _advance(self, client: Client) -> bool:
        """Go on with the handshake. Whether it is done."""
        sock, wire = client.sock, self.job.wire
        try:
            if not client.said:
                said = wire.opening(client.index)
                if wire.pipelined:
                    said += wire.frame(hello(client.index))
                if sock.send(said) != len(said):
                    raise Fault("a new connection takes less than a handshake")
                client.said = True
                self.poller.modify(sock.fileno(), _IN)
                return False
            received = sock.recv(4096)
        except OSError as error:
            raise Fault(f"a client's connection was lost in its handshake: {error.strerror}") from None
        if not received:
            raise Fault("the server closed a connection in its handshake")
        client.got += received
        size = wire.opened(client.got)
        if size and size != len(client.got):
            raise Fault(f"behind the handshake came {client.got[size:][:40]!r}")
        if size and not wire.pipelined:
            sock.send(wire.frame(hello(client.index)))
        return size > 0

    def _open(self, clients: Iterable[Client]) -> None:
        waiting = deque(clients)
        opening = 0
        while waiting or opening:
            while waiting and opening < OPENING:
                self._begin(waiting.popleft())
                opening += 1
            for fd, _ in self.poller.poll(1.0):
                if self._advance(self.by_fd[fd]):
                    opening -= 1
                    self.own[READY] += 1

    def _connect(self) -> dict[str, Any]:
        """Slots that connect, handshake, send one packet, close, and begin again."""
        own, phase, poller, by_fd = self.own, self.board.phase, self.poller, self.by_fd
        following = self.slot - 1
        total = done = 0
        for _ in range(max(1, min(CONNECT_SLOTS, self.job.clients) // self.step)):
            self._begin(Client(following))
            following += self.step
        while by_fd:
            for fd, _ in poller.poll(1.0):
                client = by_fd[fd]
                if not self._advance(client):
                    continue
                del by_fd[fd]
                client.sock.close()
                total += client.index
                done += 1
                if phase[0] < STOP:
                    self._begin(Client(following))
                    following += self.step
            own[PACKETS] = done
        own[SENT] = done
        own[DONE] = 1
        self._await(QUIT)
        return {"connects": done, "total": total}

    # ---- traffic

    def _ingest(self, cycle: Cycle) -> dict[str, Any]:
        """Everybody writes what the window allows, in turn. There is nothing to wait for, so nothing is polled."""
        phase, seen, size = self.board.phase, self.board.seen, cycle.size
        turns = [(client, client.sock.sendmsg, client.view) for client in self.active]
        window, adapt = self.job.smallest_window, time.monotonic() + ADAPT_SECS
        while phase[0] < STOP:
            idle, least = True, window // 2
            for client, sendmsg, view in turns:
                room = seen[client.index] + window - client.sent
                if room < least:
                    continue
                at = client.sent % size
                room = min(room, size)
                try:
                    client.sent += sendmsg((view[at : at + room], view[: max(0, at + room - size)]))
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise Fault(f"a client's connection was lost: {error.strerror}") from None
                idle = False
            if idle:
                time.sleep(0.0003)
            if (now := time.monotonic()) > adapt:
                window = self._window(cycle, now)
                adapt = now + ADAPT_SECS
        report = {}
        for client in self.active:
            packets = cycle.packets_in(client.sent)
            if cycle.bytes_of(packets) < client.sent:  # what was begun is finished
                packets += 1
                at, rest = client.sent % size, cycle.bytes_of(packets) - client.sent
                client.sock.settimeout(10)
                client.sock.sendall(client.cycle[at : at + rest])
            report[client.index] = packets
        self.own[SENT] = sum(report.values())
        return {"sent": report}

    def _window(self, cycle: Cycle, now: float) -> int:
        """Bytes that each client may have under way: so many that the server always has something to do, but not more
        than it can work off soon after the end."""
        packets = int(self.board.workers[0][PACKETS])
        rate = (packets - self.known[0]) / (now - self.known[1])
        self.known = packets, now
        fair = int(rate * UNDER_WAY_SECS * cycle.size / cycle.count / self.job.active)
        return max(self.job.smallest_window, min(fair, self.job.window))

    def _fanout(self, cycle: Cycle) -> dict[str, Any]:
        """Take what comes, and tell how far the slowest client is."""
        phase, own, poller, by_fd, buffer = self.board.phase, self.own, self.poller, self.by_fd, self.buffer
        rounds = {client.index: 0 for client in self.active}
        taken = 0
        while phase[0] < QUIT:
            events = poller.poll(0.02)
            for fd, _ in events:
                client = by_fd[fd]
                follower = client.follower
                follower.take(buffer, self._receive(client))
                packets = cycle.packets_in(follower.total)
                taken += packets - rounds[client.index]
                rounds[client.index] = packets
            if events:
                own[PACKETS] = taken
                own[ROUNDS] = min(rounds.values())
        return {"received": rounds}

    def _echo(self, cycle: Cycle) -> dict[str, Any]:
        """Keep `depth` packets of each client on their way round; or, paced, send them by the clock."""
        job, phase, own = self.job, self.board.phase, self.own
        poller, by_fd, buffer = self.poller, self.by_fd, self.buffer
        clock, latencies, active = time.perf_counter, self.latencies, self.active
        paced, size, count, depth = job.mode == "paced", cycle.starts[1], cycle.count, job.depth
        rate = job.rate * len(active) / job.active
        taken = sent = 0

        def send(client: Client, packets: int, now: float) -> None:
            nonlocal sent
            at = client.sent % count * size
            if client.sock.send(client.view[at : at + packets * size]) != packets * size:
                raise Fault("a socket did not take a client's packets, few as they are")
            if not client.marked:
                client.marked, client.marked_at = client.sent + 1, now
            client.sent += packets
            sent += packets

        begun = clock()
        if not paced:
            for client in active:
                send(client, depth, clock())
        stopped = False
        while not (stopped and taken == sent):
            now = clock()
            stopped = phase[0] >= STOP
            if phase[0] >= QUIT:
                break
            if paced and not stopped:
                due = min(int((now - begun) // BURST_SECS * BURST_SECS * rate), taken + AHEAD + len(active))
                for number in range(sent, due):
                    send(active[number % len(active)], 1, now)
            events = poller.poll(0.001 if paced else 0.02)
            measured = phase[0] == RUN and len(latencies) < LATENCIES
            for fd, _ in events:
                client = by_fd[fd]
                follower = client.follower
                taken -= follower.total // size
                follower.take(buffer, self._receive(client))
                packets = follower.total // size
                taken += packets
                if client.marked and client.marked <= packets:
                    if measured:
                        latencies.append(clock() - client.marked_at)
                    client.marked = 0
                room = packets + depth - client.sent
                if room > 0 and not paced and not stopped:
                    send(client, room, clock())
            own[PACKETS] = taken
        own[SENT] = sent
        if taken != sent:
            raise Fault(f"{sent - taken} of {sent} packets did not come back")
        return {"latencies": latencies}

    def _idle(self, cycle: Cycle) -> dict[str, Any]:
        """Nothing comes, and nobody is thrown out."""
        while self.board.phase[0] < STOP:
            for fd, _ in self.poller.poll(0.05):
                raise Fault(f"an idle client got {self._receive(self.by_fd[fd])} bytes")
        return {}

    def _receive(self, client: Client) -> int:
        try:
            received = client.sock.recv_into(self.buffer)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Fault(f"a client's connection was lost: {error.strerror}") from None
        if not received:
            raise Fault("the server closed a client's connection")
        return received
