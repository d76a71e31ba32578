"""A tiny connection server for tests of the client library: real sockets, handshakes in a thread, data from the test.

    with FakeServer() as server:
        connection = Connection(server.address)
        peer = server.accept()                  # after its handshake
        peer.send(b"from the backend")

To misbehave: `server.before[step] = hook`, called with the raw socket before the server sends its packet of that step
("key", "id", "challenge", "ping"). A hook may send bytes of its own, close or reset the socket (which ends it).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import socket
import threading
from typing import Callable, NamedTuple

from kit.sockets import end_hard

from voltlane.errors import ProtocolError
from voltlane.wire import crypto
from voltlane.wire import v2 as packets
from voltlane.wire.framing import FrameBuffer, frame

LIMIT = 8 * 1024 * 1024


class Proof(NamedTuple):
    """One resume's exchange, as it stood on the wire."""

    challenge: bytes
    response: bytes
    together: bool
    """Whether the Ping came in one piece with the response."""


class Peer:
    """A client's connection, seen from the server."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.client_id = -1
        self.resumed = False
        self._received = FrameBuffer(LIMIT)

    def send(self, *payloads: bytes) -> None:
        self.socket.sendall(b"".join(map(frame, payloads)))

    def send_raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def recv(self) -> bytes:
        """The next frame. Raises EOFError at the client's end."""
        while (payload := self._received.pop()) is None:
            if not (data := self.socket.recv(65536)):
                raise EOFError(f"{len(self._received)} bytes of a frame are left")
            self._received.feed(data)
        return payload

    def buffered(self) -> int:
        return len(self._received)

    def cut(self) -> None:
        """Close in order."""
        shut(self.socket)

    def reset(self) -> None:
        """Close without order: the client gets ECONNRESET."""
        reset(self.socket)


def reset(sock: socket.socket) -> None:
    end_hard(sock)
    sock.close()


def shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


class FakeServer:
    """Speaks the server's side of v2 over TCP or a unix socket. Sessions live as long as it."""

    def __init__(self, host: str = "127.0.0.1", path: str = "") -> None:
        if path:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(path)
            self.address = f"unix:{path}"
        else:
            self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
            self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self._listener.listen(16)
        self.key = crypto.generate_key()
        self.sessions: dict[int, bytes] = {}
        self.missed: dict[int, list[bytes]] = {}
        """Packets to replay at a client's resume."""
        self.greeting = b""
        """Raw bytes to send in one piece with the last packet of a handshake."""
        self.before: dict[str, Callable[[socket.socket], object]] = {}
        self.seen: list[packets.Packet] = []
        """Every handshake packet received."""
        self.proofs: list[Proof] = []
        self.errors: list[Exception] = []
        """What ended a handshake: the client's faults, and what a hook did."""
        self._ids = itertools.count(7)
        self._peers: queue.Queue[Peer] = queue.Queue()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept_loop, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def accept(self) -> Peer:
        """The next client that has finished its handshake."""
        return self._peers.get(timeout=10.0)

    def stop_listening(self) -> None:
        """From now on connections are refused."""
        shut(self._listener)
        self._threads[0].join(10.0)

    def close(self) -> None:
        self.stop_listening()
        for sock in self._sockets:
            shut(sock)
        for thread in self._threads:
            thread.join(10.0)

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept_loop(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(10.0)
            self._sockets.append(sock)
            thread = threading.Thread(target=self._greet, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _greet(self, sock: socket.socket) -> None:
        peer = Peer(sock)
        try:
            self._handshake(peer)
        except (ProtocolError, OSError, EOFError, KeyError) as error:
            self.errors.append(error)
            shut(sock)
        else:
            self._peers.put(peer)

    def _handshake(self, peer: Peer) -> None:
        assert self._receive(peer) == packets.ProtocolVersion(2)
        self._send(peer, "key", packets.PubKey(self.key.public))
        answer = self._receive(peer)
        if isinstance(answer, packets.PubKey):
            peer.client_id = next(self._ids)
            self.sessions[peer.client_id] = crypto.session_key(self.key, answer.point)
            self._send(peer, "id", packets.ClientId(peer.client_id), self.greeting)
            return
        assert isinstance(answer, packets.ClientId)
        peer.client_id, peer.resumed = answer.client_id, True
        key = self.sessions[peer.client_id]
        secret = os.urandom(crypto.CHALLENGE_SIZE)
        challenge = crypto.seal(key, secret)
        self._send(peer, "challenge", packets.Challenge(challenge))
        response = self._receive(peer)
        assert isinstance(response, packets.ChallengeResponse)
        self.proofs.append(Proof(challenge, response.blob, together=peer.buffered() > 0))
        crypto.check_proof(key, secret, challenge, response.blob)
        assert self._receive(peer) == packets.Ping()
        replay = b"".join(map(frame, self.missed.pop(peer.client_id, [])))
        self._send(peer, "ping", packets.Ping(), replay + self.greeting)

    def _send(self, peer: Peer, step: str, packet: packets.Packet, behind: bytes = b"") -> None:
        if hook := self.before.get(step):
            hook(peer.socket)
        peer.send_raw(frame(packets.encode(packet)) + behind)

    def _receive(self, peer: Peer) -> packets.Packet:
        packet = packets.decode(peer.recv())
        self.seen.append(packet)
        return packet
