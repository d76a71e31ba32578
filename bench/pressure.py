"""What the loud cost the quiet: `python -m bench.pressure flood|storm`.

flood    ten clients with one packet outstanding each, first alone and then beside a thousand that send without a pause
storm    a thousand clients that resume at once, while ten others echo a hundred times a second each

Both run the server and a backend in processes of their own, on loopback, and print round-trip times of the ten (for the
storm also resumes a second). `--pure` runs the server without its optional parts.
"""

from __future__ import annotations

import argparse
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.machine import cpu_seconds
from voltlane.wire import crypto
from voltlane.wire import v2 as packets
from voltlane.wire.batch import group
from voltlane.wire.framing import frame
from voltlane.wire.tagged import HEADER

QUIET_SIZE = 32
PAUSE = 0.01
"""Seconds between the round trips of the ten beside a storm: their own cost is not to count as the storm's."""
SOCKET_BUFFER = 128 << 10
"""Of the loud, either side: a thousand of them as large as they get fill the kernel's memory for TCP, and it drops
packets."""
QUIET_PREFIX = struct.pack("<I", QUIET_SIZE)
LOUD = frame(b"x" * 64) * 1000
KEY = crypto.generate_key()
HELLO = frame(packets.encode(packets.ProtocolVersion(2))) + frame(packets.encode(packets.PubKey(KEY.public)))


def backend(port: int, ready: int) -> None:
    """Echo the packets of the quiet, whose size tells them; swallow the others'."""
    listener = socket.create_server(("127.0.0.1", port))
    os.write(ready, b"!")
    master, _ = listener.accept()
    master.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer, filled = bytearray(4 << 20), 0
    view = memoryview(buffer)
    while received := master.recv_into(view[filled:]):
        filled, position, replies = filled + received, 0, []
        while True:
            chunks, position, count = group(buffer, position, filled, 1 << 20)
            for client_id, chunk in chunks.items():
                if chunk[:4] == QUIET_PREFIX:
                    head = HEADER.pack(9 + QUIET_SIZE, client_id, 0)
                    replies += [head + chunk[at : at + QUIET_SIZE] for at in range(4, len(chunk), 4 + QUIET_SIZE)]
            if count:
                continue
            if filled - position < 13 or buffer[position + 12] == 0:
                break
            position += 13  # a reconnection notice
        if replies:
            master.sendall(b"".join(replies))
        buffer[: filled - position] = buffer[position:filled]
        filled -= position


def start(pure: bool) -> tuple[subprocess.Popen[bytes], int, int]:
    """A server and its backend; (server, the backend's pid, port)."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        listen, master = one.getsockname()[1], two.getsockname()[1]
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        backend(master, writing)
        os._exit(0)
    os.read(reading, 1)
    environment = {**os.environ, "VOLTLANE_PURE_PYTHON": "1" if pure else "", "VOLTLANE_LOG_LEVEL": "Warn"}
    environment["VOLTLANE_SOCKET_RECEIVE_BUFFER"] = str(SOCKET_BUFFER)
    command = [sys.executable, "voltlane.py", "--config", "connserver.toml"]
    command += ["--listen", f"127.0.0.1:{listen}", "--master", f"127.0.0.1:{master}"]
    server = subprocess.Popen(command, cwd=Path(__file__).resolve().parent.parent, env=environment)
    return server, pid, listen


class Client:
    """A socket and the frames that came in on it."""

    def __init__(self, port: int) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                self.sock = socket.create_connection(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.client_id = -1
        self.step = 0
        self.sent_at = 0.0

    def frames(self) -> list[bytes]:
        """What has come, whole."""
        data = self.sock.recv(65536)
        if not data:
            raise EOFError("the server closed the connection")
        self.received += data
        found, at = [], 0
        while len(self.received) - at >= 4:
            (size,) = struct.unpack_from("<I", self.received, at)
            if len(self.received) - at < 4 + size:
                break
            found.append(self.received[at + 4 : at + 4 + size])
            at += 4 + size
        self.received = self.received[at:]
        return found

    def ping(self) -> None:
        """Send the one packet."""
        self.sent_at = time.perf_counter()
        self.sock.send(frame(b"q" * QUIET_SIZE))


def joined(port: int) -> tuple[Client, bytes]:
    """A client with a session, and the server's key."""
    client = Client(port)
    client.sock.sendall(HELLO)
    found: list[bytes] = []
    while len(found) < 2:
        found += client.frames()
    server_key, mine = packets.decode(found[0]), packets.decode(found[1])
    assert isinstance(server_key, packets.PubKey) and isinstance(mine, packets.ClientId)
    client.client_id = mine.client_id
    return client, server_key.point


def measure(quiet: list[Client], seconds: float, stop: int | None = None, pause: float = 0.0) -> str:
    """Round trips of the quiet, for a while or until something can be read from the descriptor `stop`.

    Each sends its next packet `pause` seconds after the answer to the last.
    """
    selector = selectors.DefaultSelector()
    if stop is not None:
        selector.register(stop, selectors.EVENT_READ)
    for client in quiet:
        client.sock.setblocking(False)
        selector.register(client.sock, selectors.EVENT_READ, client)
        client.ping()
    times = []
    pausing: deque[tuple[float, Client]] = deque()
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        while pausing and pausing[0][0] <= now:
            pausing.popleft()[1].ping()
        ready = [key.data for key, _ in selector.select(max(0.0, pausing[0][0] - now) if pausing else 0.1)]
        if None in ready:
            break
        for client in ready:
            if client.frames():
                times.append(time.perf_counter() - client.sent_at)
                pausing.append((time.monotonic() + pause, client))
    selector.close()
    resting = {client for _, client in pausing}
    for client in quiet:
        client.sock.setblocking(True)
        if client not in resting:
            client.frames()
    times.sort()
    if not times:
        return "no round trip"
    half, high, top = (1e3 * times[min(len(times) - 1, int(len(times) * q))] for q in (0.5, 0.99, 1.0))
    return f"{len(times)} round trips, median {half:.2f} ms, p99 {high:.2f} ms, longest {top:.2f} ms"


def flood(server: int, port: int, count: int, seconds: float) -> None:
    """The quiet beside the loud."""
    quiet = [joined(port)[0] for _ in range(10)]
    print("alone:          ", measure(quiet, seconds), flush=True)
    loud = [joined(port)[0].sock for _ in range(count)]
    pid = os.fork()
    if not pid:
        selector = selectors.DefaultSelector()
        rest: dict[int, bytes] = {}
        for sock in loud:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
            selector.register(sock, selectors.EVENT_WRITE)
        while True:
            for key, _ in selector.select():
                chunk = rest.get(key.fd) or LOUD
                try:
                    rest[key.fd] = chunk[key.fileobj.send(chunk) :]  # type: ignore[union-attr]
                except BlockingIOError:
                    pass
    try:
        measure(quiet, 1)
        print(f"beside {count:5} loud:", measure(quiet, seconds), flush=True)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def storm(server: int, port: int, count: int, seconds: float) -> None:
    """The quiet while many resume."""
    quiet = [joined(port)[0] for _ in range(10)]
    gone, key = [], b""
    for _ in range(count):
        client, point = joined(port)
        key = key or crypto.session_key(KEY, point)
        gone.append(client.client_id)
        client.sock.close()
    print("alone:          ", measure(quiet, seconds, pause=PAUSE), flush=True)
    for attempt in ("first, keys to be derived", "second, keys known"):
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:  # a process of their own, so that they wait for nobody but the server
            os.close(writing)
            print("meanwhile:      ", measure(quiet, 60, reading, PAUSE), flush=True)
            os._exit(0)
        os.close(reading)
        before = cpu_seconds(server)
        took = _resume_all(port, gone, key)
        spent = cpu_seconds(server) - before
        os.close(writing)
        os.waitpid(pid, 0)
        print(
            f"{count} resumes, {attempt}: {count / took:.0f} a second, {count / spent:.0f} a second of the server's CPU"
        )


def _resume_all(port: int, gone: list[int], key: bytes) -> float:
    """Resume all of them at once; seconds until the last is back."""
    selector = selectors.DefaultSelector()
    began = time.perf_counter()
    for client_id in gone:
        client = Client(port)
        client.sock.sendall(frame(packets.encode(packets.ProtocolVersion(2))))
        client.sock.sendall(frame(packets.encode(packets.ClientId(client_id))))
        selector.register(client.sock, selectors.EVENT_READ, _resume(client, key))
    left = len(gone)
    while left:
        for ready, _ in selector.select():
            if ready.data():
                selector.unregister(ready.fileobj)
                left -= 1
    return time.perf_counter() - began


def _resume(client: Client, key: bytes):  # type: ignore[no-untyped-def]
    def step() -> bool:
        for payload in client.frames():
            packet = packets.decode(payload)
            if isinstance(packet, packets.Challenge):
                answer = packets.ChallengeResponse(crypto.seal(key, crypto.open_sealed(key, packet.blob)))
                client.sock.sendall(frame(packets.encode(answer)) + frame(packets.encode(packets.Ping())))
            elif isinstance(packet, packets.Ping):
                client.sock.close()
                return True
        return False

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["flood", "storm"])
    parser.add_argument("--pure", action="store_true", help="the server without accelerator and coincurve")
    parser.add_argument("--clients", type=int, default=1000, help="how many are loud, or resume (1000)")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (5)")
    options = parser.parse_args()
    server, pid, port = start(options.pure)
    try:
        {"flood": flood, "storm": storm}[options.what](server.pid, port, options.clients, options.seconds)
    finally:
        server.kill()
        server.wait()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
