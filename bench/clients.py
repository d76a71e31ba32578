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
from .wires import Fault, Line, lost
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
SETTLE_SECS = 0.2
"""How long a client waits with what it need not say at once; as the server does."""
LAST_SECS = 10
BURST_SECS = 0.01
"""At a fixed rate, so much of it is sent at once, for a server to have the same to do each time it wakes up."""
AHEAD = 1000
"""Packets that may be under way, besides one per client, when a server does not keep up with a fixed rate."""
IP_BIND_ADDRESS_NO_PORT = 24  # a name for it came with Python 3.12 only

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class Client:
    """One connection. `cycle` is what it sends, and what `follower` expects; `view` is made for slices of it."""

    __slots__ = ("cycle", "follower", "index", "line", "marked", "marked_at", "sent", "session", "view")

    line: Line
    cycle: bytes
    follower: Follower
    view: memoryview

    def __init__(self, index: int) -> None:
        self.index = index
        self.session: Any = None
        """What its next connection resumes."""
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
        self.settles = 0.0
        """When `Line.settle` is due."""
        self.known = 0, time.monotonic()
        """How many packets the backend had got, and when that was."""

    def run(self) -> dict[str, Any]:
        """The whole part of this process. What it has to report."""
        if self.job.mode == "connect":
            self.own[PREPARED] = 1
            self._await(WARM)
            return self._connect()
        if self.job.mode == "resume":
            return self._resume()
        self.clients = [Client(index) for index in self.indices]
        self._open(self.clients)
        self.active = [client for client in self.clients if client.index < self.job.active]
        cycle = client_cycle(self.job.wire, self.job.sizes)
        for client in self.active:
            client.cycle = cycle.of(self.job.mark(client.index))
            client.follower = Follower(client.cycle)
            client.line.prepare(cycle)
            client.view = memoryview(client.cycle * 2 if self.job.mode in ("echo", "paced") else client.cycle)
        self.own[PREPARED] = 1
        self._await(WARM)
        plays = {"ingest": self._ingest, "fanout": self._fanout, "broadcast": self._fanout, "idle": self._idle}
        play = plays.get(self.job.mode, self._echo)
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
        """Connect; where the client was connected before, it resumes."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.0.{1 + client.index % SOURCES}", 0))
        failure = sock.connect_ex(self.server)
        if failure not in (0, errno.EINPROGRESS):
            raise Fault(f"cannot connect: {os.strerror(failure)}")
        client.line = self.job.wire.line(sock, client.index, hello(client.index), client.session)
        self.by_fd[sock.fileno()] = client
        self.poller.register(sock.fileno(), _OUT)

    def _advance(self, client: Client, mask: int) -> bool:
        """Go on with the handshake. Whether it is done now."""
        if mask & _OUT:
            self.poller.modify(client.line.sock.fileno(), _IN)
        if client.line.done:
            self._take_nothing(client)
            return False
        return client.line.advance()

    def _open(self, clients: Iterable[Client], most: int = OPENING, counted: int = READY) -> None:
        """Connect them all, so many at once, and count them on the board."""
        waiting = deque(clients)
        opening = 0
        while waiting or opening:
            while waiting and opening < most:
                self._begin(waiting.popleft())
                opening += 1
            for fd, mask in self.poller.poll(1.0):
                if self._advance(self.by_fd[fd], mask):
                    opening -= 1
                    self.own[counted] += 1

    def _connect(self) -> dict[str, Any]:
        """Slots that connect, handshake, send one packet, close, and begin again."""
        own, phase, poller, by_fd = self.own, self.board.phase, self.poller, self.by_fd
        following = self.slot - 1
        total = done = 0
        for _ in range(max(1, min(CONNECT_SLOTS, self.job.clients) // self.step)):
            self._begin(Client(following))
            following += self.step
        while by_fd:
            for fd, mask in poller.poll(1.0):
                client = by_fd[fd]
                if not self._advance(client, mask):
                    continue
                del by_fd[fd]
                client.line.sock.close()
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

    def _resume(self) -> dict[str, Any]:
        """All lose their connections, all resume at once and send one packet; and again. Once before it counts: a
        server of version 2 derives what it needs for that when a session first resumes."""
        own, phase = self.own, self.board.phase
        clients = [Client(index) for index in self.indices]
        self._open(clients, counted=PACKETS)
        while phase[0] < STOP:
            for client in clients:
                client.session = client.line.session
                del self.by_fd[client.line.sock.fileno()]
                client.line.sock.close()
            self._open(clients, len(clients), PACKETS)
            if not own[PREPARED]:
                own[PREPARED] = 1
                self._await(WARM)
        own[SENT] = own[PACKETS]
        own[DONE] = 1
        self._await(QUIT)
        return {"connects": int(own[SENT]), "total": sum(self.indices) * (int(own[SENT]) // len(clients))}

    # ---- traffic

    def _ingest(self, cycle: Cycle) -> dict[str, Any]:
        """Everybody writes as many packets as the window allows, in turn. There is nothing to wait for, but acks, where
        there are some."""
        phase, seen, size = self.board.phase, self.board.seen, cycle.size
        turns = [(client, client.line, client.line.send, client.view) for client in self.active]

        def whole(sent: int) -> int:
            return cycle.bytes_of(cycle.packets_in(sent))

        window, adapt = self.job.smallest_window, time.monotonic() + ADAPT_SECS
        while phase[0] < STOP:
            idle, least = True, window // 2
            self._expect_silence(0)
            for client, line, send, view in turns:
                room = min(seen[client.index] + window - client.sent, line.room, size)
                if room < least:
                    continue
                at = client.sent % size
                room = whole(client.sent + room) - client.sent
                try:
                    client.sent += send(view[at : at + room], view[: max(0, at + room - size)])
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise lost(error) from None
                idle = False
            if idle:
                time.sleep(0.0003)
            if (now := time.monotonic()) > adapt:
                window = self._window(cycle, now)
                adapt = now + ADAPT_SECS
        report = {}
        for client in self.active:
            packets, rest = cycle.packets_in(client.sent), b""
            if cycle.bytes_of(packets) < client.sent:  # what was begun is finished
                packets += 1
                at = client.sent % size
                rest = client.cycle[at : at + cycle.bytes_of(packets) - client.sent]
            client.line.finish(rest, LAST_SECS)
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
                follower.take(buffer, client.line.receive(buffer))
                packets = cycle.packets_in(follower.total)
                taken += packets - rounds[client.index]
                rounds[client.index] = packets
                client.line.took(packets)
            self._settle()
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
            if client.line.send(client.view[at : at + packets * size]) != packets * size:
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
                follower.take(buffer, client.line.receive(buffer))
                packets = follower.total // size
                taken += packets
                client.line.took(packets)
                if client.marked and client.marked <= packets:
                    if measured:
                        latencies.append(clock() - client.marked_at)
                    client.marked = 0
                room = packets + depth - client.sent
                if room > 0 and not paced and not stopped:
                    send(client, room, clock())
            self._settle()
            own[PACKETS] = taken
        own[SENT] = sent
        if taken != sent:
            raise Fault(f"{sent - taken} of {sent} packets did not come back")
        return {"latencies": latencies}

    def _idle(self, cycle: Cycle) -> dict[str, Any]:
        """Nothing comes, and nobody is thrown out."""
        while self.board.phase[0] < STOP:
            self._expect_silence(0.05)
        return {}

    def _expect_silence(self, timeout: float) -> None:
        """Whatever comes, it is no packets."""
        for fd, _ in self.poller.poll(timeout):
            self._take_nothing(self.by_fd[fd])

    def _take_nothing(self, client: Client) -> None:
        received = client.line.receive(self.buffer)
        if received:
            raise Fault(f"a client got what nobody sent: {bytes(self.buffer[: min(received, 60)])!r}")

    def _settle(self) -> None:
        """Every while, let everybody say what could wait."""
        now = time.monotonic()
        if now >= self.settles:
            self.settles = now + SETTLE_SECS
            for client in self.clients:
                client.line.settle()
