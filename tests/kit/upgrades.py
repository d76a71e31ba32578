"""A server process that is followed by another one in place, and clients that count what they send over that."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import socket
import struct
from pathlib import Path
from typing import Callable

from kit.process import EXIT_TIMEOUT, KIT, Process, ServerProcess, environment, usual
from kit.raw_client import RawClient, connect, frame
from kit.records import Endpoint, Session, framed
from kit.wait import wait_until

from voltlane.wire.framing import FrameBuffer

_NUMBER = struct.Struct("<QQ")
GONE = "goes on, after a pause of"


class UpgradingServer(ServerProcess):
    """`voltlane serve`, by way of `kit/heir.py`. Its successors are nobody's children."""

    def __init__(
        self, master: str, settings: dict[str, object] | None = None, fault: str = "", config: Path | None = None
    ) -> None:
        given = usual(master, settings or {})  # None: it stands in the file
        environ = environment({name: value for name, value in given.items() if value is not None})
        flags = [] if config is None else ["--config", str(config)]
        Process.__init__(self, [str(KIT / "heir.py"), "serve", *flags], {**environ, "HEIR_FAULT": fault})
        self._address = ""
        self.current = self.process.pid
        """The process that serves."""
        self.upgrades = 0
        self.stays = False
        """Whether the first process waits for the others."""

    def __enter__(self) -> UpgradingServer:
        return self

    def ask(self) -> None:
        """Ask for an upgrade."""
        os.kill(self.current, signal.SIGUSR2)

    @property
    def upgraded(self) -> bool:
        """Whether another process serves by now than at the last look."""
        found = self._followers()
        if len(found) == self.upgrades:
            return False
        self.upgrades = len(found)
        before, self.current = self.current, found[-1]
        if not (self.stays and before == self.process.pid):
            _wait_for_end(before, self.process)
        return True

    def _followers(self) -> list[int]:
        return [int(pid) for pid in re.findall(rf"process (\d+) {GONE}", self.log)]

    @property
    def has_ended(self) -> bool:
        """See Process: of the last one."""
        return _has_ended([self.process.pid, *self._followers()][-1], self.process)

    def upgrade(self, failures: int = 0) -> None:
        """Ask, and wait. So many have failed before."""
        self.ask()
        try:
            wait_until(lambda: self.upgraded or self.failures > failures, "another process", 30.0)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log[-4000:]}") from None
        assert self.failures == failures, self.log[-4000:]

    @property
    def failures(self) -> int:
        """How many upgrades have failed."""
        return self.log.count("handing over has failed")

    def kill_current(self) -> None:
        """The process that serves is killed."""
        assert self.current != self.process.pid
        os.kill(self.current, signal.SIGKILL)
        _wait_for_end(self.current, self.process)

    @property
    def pauses(self) -> list[float]:
        """Milliseconds, as each process has told them."""
        return [float(found) for found in re.findall(rf"{GONE} (\d+) ms", self.log)]

    def expect_traceback(self) -> None:
        """A test made the successor's code fail: that stands in the log, which the successor shares."""
        self._log_file = Path(self.directory) / "nothing"
        self._log_file.write_bytes(b"not looked at")

    def close(self) -> None:
        """See ServerProcess."""
        with contextlib.suppress(AssertionError):
            assert self.upgraded
        if self.current != self.process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.current, signal.SIGTERM)
            _wait_for_end(self.current, self.process)
        super().close()


def _wait_for_end(pid: int, child: object) -> None:
    wait_until(lambda: _has_ended(pid, child), f"the end of process {pid}", EXIT_TIMEOUT)


def _has_ended(pid: int, child: object) -> bool:
    child.poll()  # type: ignore[attr-defined] # which waits for it, should that be the one
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


class Streamer:
    """A client that sends numbered packets, of sizes that vary, and has them echoed. Subclasses say how it speaks."""

    sock: socket.socket
    window = 64

    def __init__(self, size: int = 97) -> None:
        self.sent = self.received = 0
        self.client_id = 0
        self.size = size
        self.paused = False
        """It reads nothing, and leaves the packet that it sends in the middle."""
        self.ending = False
        """It sends no new ones."""
        self._unsent = b""

    @property
    def done(self) -> bool:
        return self.ending and self.received == self.sent and not self._unsent

    def payload(self, number: int) -> bytes:
        return _NUMBER.pack(number, self.client_id) + b"x" * (number * 31 % self.size)

    def encode(self, payload: bytes) -> bytes:
        raise NotImplementedError

    def decode(self) -> list[bytes]:
        """Read once: the packets that came."""
        raise NotImplementedError

    def on_writable(self) -> None:
        if len(self._unsent) < 4096 and not (self.ending or self.paused) and self.sent < self.received + self.window:
            self._unsent += self.encode(self.payload(self.sent))
            self.sent += 1
        piece = self._unsent[: 1 + len(self._unsent) * 2 // 3]
        if self.paused and len(self._unsent) <= 1:
            return
        with contextlib.suppress(BlockingIOError):
            self._unsent = self._unsent[self.sock.send(piece) :]

    @property
    def wants_to_write(self) -> bool:
        more = not self.ending and self.sent < self.received + self.window
        return (bool(self._unsent) or more) and not self.paused

    def on_readable(self) -> None:
        if self.paused:
            return
        for packet in self.decode():
            expected = self.payload(self.received)
            assert packet == expected, f"client {self.client_id}: not {self.received} but {packet[:16]!r}"
            self.received += 1

    def pause(self) -> None:
        """Read nothing any more, with half a frame on its way."""
        if not self._unsent:
            self._unsent = self.encode(self.payload(self.sent))
            self.sent += 1
        self.sock.settimeout(10)
        half = len(self._unsent) // 2
        self.sock.sendall(self._unsent[:half])
        self._unsent = self._unsent[half:]
        self.sock.setblocking(False)
        self.paused = True

    def close(self) -> None:
        self.sock.close()


class OfVersion2(Streamer):
    """Over the length prefix."""

    def __init__(self, address: str, receive_buffer: int = 0, size: int = 97) -> None:
        super().__init__(size)
        self._client = RawClient.new(address, receive_buffer=receive_buffer)
        self.client_id, self.sock = self._client.client_id, self._client.sock

    def encode(self, payload: bytes) -> bytes:
        return frame(payload)

    def decode(self) -> list[bytes]:
        try:
            assert self._client.fill(), f"client {self.client_id} was cut"
        except BlockingIOError:
            return []
        packets = []
        while (payload := self._client.pop()) is not None:
            packets.append(payload)
        return packets


class OfVersion3(Streamer):
    """The same, encrypted or not."""

    def __init__(self, address: str, receive_buffer: int = 0, size: int = 97, suite: int = 1) -> None:
        super().__init__(size)
        self._endpoint = Endpoint(Session(), suite=suite)
        self._received, self._seen = FrameBuffer(1 << 20), 0
        self.sock = connect(address, receive_buffer)
        self.sock.sendall(framed([self._endpoint.hello()]))
        while not self._endpoint.ready:
            self._hear()
            self.sock.sendall(self._unsent)
            self._unsent = b""
        self.client_id = self._endpoint.session.id

    def encode(self, payload: bytes) -> bytes:
        self._endpoint.session.send(payload)
        return framed(self._endpoint.flush())

    def decode(self) -> list[bytes]:
        try:
            self._hear()
        except BlockingIOError:
            return []
        events, self._seen = self._endpoint.session.events[self._seen :], len(self._endpoint.session.events)
        return events  # type: ignore[return-value]

    def _hear(self) -> None:
        data = self.sock.recv(1 << 18)
        assert data, f"client {self.client_id} was cut: {self._endpoint.close}"
        self._received.feed(data)
        taken, answers = self._endpoint.session.taken, []
        while (message := self._received.pop()) is not None:
            answers += self._endpoint.receive(message)
        if self._endpoint.session.taken != taken:
            answers.append(self._endpoint.tell())
        self._unsent += framed(answers)


def drive(clients: list[Streamer], until: Callable[[], bool], seconds: float = 40.0) -> None:
    """Let all of them send and receive until that holds."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            client.sock.setblocking(False)
            selector.register(client.sock, selectors.EVENT_READ, client)
        idle = 0.0
        while not until():
            ready = selector.select(0.05)
            idle = 0.0 if ready else idle + 0.05
            assert idle < seconds, "; ".join(
                f"client {one.client_id}: sent {one.sent}, back {one.received}" for one in clients if not one.done
            )
            for key, mask in ready:
                client: Streamer = key.data
                if mask & selectors.EVENT_READ:
                    client.on_readable()
                if mask & selectors.EVENT_WRITE:
                    client.on_writable()
            for client in clients:
                events = 0 if client.paused else selectors.EVENT_READ
                events |= selectors.EVENT_WRITE if client.wants_to_write else 0
                key = selector.get_map().get(client.sock)
                if key is None and events:
                    selector.register(client.sock, events, client)
                elif key is not None and not events:
                    selector.unregister(client.sock)
                elif key is not None and key.events != events:
                    selector.modify(client.sock, events, client)


def finish(clients: list[Streamer]) -> None:
    """Let all of them have everything back, and nothing else."""
    for client in clients:
        client.ending, client.paused = True, False
    drive(clients, lambda: all(client.done for client in clients))
