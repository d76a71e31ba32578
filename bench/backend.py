"""The process that plays the backend: the server connects to it, and everything of all clients goes through it."""

from __future__ import annotations

import os
import select
import socket
import time
from typing import Any, Callable

from .board import DONE, PACKETS, PREPARED, QUIT, READY, ROUNDS, SENT, STOP, WARM, Board
from .traffic import Cycle, Ledger, read_hello, tagged_cycle
from .wires import Fault
from .workloads import Job

RECEIVE = 1 << 20
SEND = 1 << 18


def accept(listener: socket.socket) -> socket.socket:
    """The server's connection, when it comes."""
    listener.settimeout(20)
    return listener.accept()[0]


class Backend:
    """One server's backend."""

    def __init__(self, job: Job, connect: Callable[[], socket.socket], board: Board) -> None:
        """`connect` gives the connection that everything goes through, when it stands."""
        self.job = job
        self.board = board
        self.own = board.workers[0]
        self.parent = os.getppid()
        self.connect = connect
        self.ids: dict[int, int] = {}
        """Each client's id, by its index."""
        largest = len(job.wire.tagged(bytes(8), bytes(max(job.sizes))))
        self.buffer = bytearray(max(RECEIVE, 4 * largest))
        self.view = memoryview(self.buffer)
        self.held = 0
        """Bytes of the buffer that wait for the rest of a packet."""
        self.poller = select.epoll()

    def run(self) -> dict[str, Any]:
        """The whole part of this process. What it has to report."""
        self.sock = self.connect()
        self._greet()
        self.own[READY] = 1
        if self.job.mode in ("connect", "resume"):
            return self._connects()
        self._meet()
        modes = {"ingest": self._ingest, "fanout": self._fanout, "broadcast": self._fanout, "idle": self._silence}
        return modes.get(self.job.mode, self._echo)()

    def _greet(self) -> None:
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(20)
        self.sock.sendall(self.job.wire.backend_opening)
        got = b""
        while not (opened := self.job.wire.backend_opened(got)):
            got += self._some(self.sock.recv(4096))
        if 0 < opened < len(got):
            raise Fault(f"behind the server's opening came {got[opened:][:40]!r}")
        self.sock.setblocking(False)
        self.poller.register(self.sock.fileno(), select.EPOLLIN)

    @staticmethod
    def _some(data: bytes) -> bytes:
        if not data:
            raise Fault("the server closed the backend's connection")
        return data

    def _receive(self, timeout: float) -> int:
        """How many bytes the buffer holds, after waiting for more."""
        if not self.poller.poll(timeout):
            if os.getppid() != self.parent:
                raise Fault("left alone")
            return self.held
        try:
            received = self.sock.recv_into(self.view[self.held :])
        except BlockingIOError:
            return self.held
        except OSError as error:
            raise Fault(f"the backend's connection was lost: {error.strerror}") from None
        if not received:
            raise Fault("the server closed the backend's connection")
        return self.held + received

    def _keep(self, position: int, stop: int) -> None:
        self.held = stop - position
        if position and self.held:
            self.view[: self.held] = bytes(self.view[position:stop])

    def _meet(self) -> None:
        """Until every client has sent its first packet."""
        while len(self.ids) < self.job.clients and self.board.phase[0] < QUIT:
            position, stop = 0, self._receive(0.05)
            while packet := self.job.wire.untag(self.buffer, position, stop):
                self.ids[read_hello(packet.data)] = packet.client_id
                position = packet.end
            self._keep(position, stop)

    def _ready(self) -> None:
        """Everything is prepared; wait for the others."""
        self.own[PREPARED] = 1
        while self.board.phase[0] < WARM:
            time.sleep(0.002)

    # ---- workloads

    def _ingest(self) -> dict[str, Any]:
        """Verify what comes."""
        ledger, own, phase, seen = Ledger(self.job.wire, self.job.sizes), self.own, self.board.phase, self.board.seen
        for index, client_id in self.ids.items():
            ledger.open(client_id, index)
        self._ready()
        while phase[0] < QUIT:
            stop = self._receive(0.02)
            self._keep(ledger.take(self.buffer, stop, seen), stop)
            own[PACKETS] = ledger.packets
        return {"received": {account.index: account.packets for account in ledger.accounts.values()}}

    def _fanout(self) -> dict[str, Any]:
        """One packet to each client, round after round, as far ahead of the slowest client as the depth allows."""
        job, phase, own, poller, send = self.job, self.board.phase, self.own, self.poller, self.sock.send
        rounds = self._rounds()
        view = memoryview(rounds.of(0))
        others = self.board.workers[1:]
        self._ready()
        sent = 0
        """Bytes."""
        while True:
            stopping = phase[0] >= STOP
            if stopping:
                done = rounds.packets_in(sent)
                end = rounds.bytes_of(done + (rounds.bytes_of(done) < sent))
            else:
                end = rounds.bytes_of(min(other[ROUNDS] for other in others) + job.depth)
            if stopping and sent == end:
                break
            at = sent % rounds.size
            taken = 0
            if sent < end:
                try:
                    taken = send(view[at : at + min(end - sent, SEND)])
                    sent += taken
                except BlockingIOError:
                    poller.modify(self.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
                    self._hear(0.05)
                    poller.modify(self.sock.fileno(), select.EPOLLIN)
                    continue
                except OSError as error:
                    raise Fault(f"the backend's connection was lost: {error.strerror}") from None
            if not taken:
                self._hear(0.001)
        own[SENT] = rounds.packets_in(sent) * job.clients
        own[DONE] = 1
        while phase[0] < QUIT:
            self._hear(0.02)
        return {"rounds": rounds.packets_in(sent)}

    def _rounds(self) -> Cycle:
        """What is sent in each round, a packet to each client; a round is what this cycle calls a packet."""
        tagged = tagged_cycle(self.job.wire, self.job.sizes)
        streams = [tagged.of(self.job.mark(index), self.ids[index]) for index in range(self.job.clients)]
        places = list(zip(tagged.starts, tagged.starts[1:]))
        return Cycle([b"".join([stream[begin:end] for stream in streams]) for begin, end in places])

    def _echo(self) -> dict[str, Any]:
        """Send back what comes, as it is: both directions look the same, and the clients verify it."""
        phase, poller, fd = self.board.phase, self.poller, self.sock.fileno()
        pending, waiting = bytearray(), False
        self._ready()
        while phase[0] < QUIT:
            pending += self.view[: self._receive(0.02)]
            if pending:
                try:
                    del pending[: self.sock.send(pending)]
                except BlockingIOError:
                    pass
            if bool(pending) is not waiting:
                waiting = not waiting
                poller.modify(fd, select.EPOLLIN | select.EPOLLOUT if waiting else select.EPOLLIN)
        return {}

    def _connects(self) -> dict[str, Any]:
        """Count first packets; other kinds than data are news of clients that left, or resumed. A client that was there
        before has the id that it had."""
        count = total = 0
        self.own[PREPARED] = 1
        while self.board.phase[0] < QUIT:
            position, stop = 0, self._receive(0.02)
            while packet := self.job.wire.untag(self.buffer, position, stop):
                position = packet.end
                if packet.kind == 0:
                    index = read_hello(packet.data)
                    if self.ids.setdefault(index, packet.client_id) != packet.client_id:
                        raise Fault(f"client {index} has id {packet.client_id}, it had {self.ids[index]}")
                    total += index
                    count += 1
            self._keep(position, stop)
            self.own[PACKETS] = count
        return {"connects": count, "total": total}

    def _silence(self) -> dict[str, Any]:
        self._ready()
        while self.board.phase[0] < QUIT:
            self._expect_silence(0.05)
        return {}

    def _hear(self, timeout: float) -> None:
        """Take what the server says to what is sent: nothing."""
        self._expect_silence(timeout)

    def _expect_silence(self, timeout: float) -> None:
        stop = self._receive(timeout)
        if stop > self.held:
            packet = self.job.wire.untag(self.buffer, 0, stop)
            raise Fault(f"the backend got what nobody sent: {packet or bytes(self.view[: min(stop, 60)])!r}")
