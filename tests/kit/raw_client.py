"""A client of wire protocol v2 that knows nothing of the package: only the wire, and the two cryptography libraries.

It stands for clients in other languages: what it cannot do with the server, they cannot do either.

    client = RawClient.new(address)             # the whole handshake in one send
    client.send(b"hello")
    again = client.come_back()                  # resumes the session over a second connection
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import socket
import struct
from collections.abc import Iterator

import ecdsa
from ecdsa.ellipticcurve import INFINITY
from kit.sockets import end_hard
from nacl import bindings

TIMEOUT = 10.0
INFO = b"VOLTLANE.NET"
NONCE = 24
PUBKEY, CLIENT_ID, CHALLENGE = 2, 3, 4

_SIZE = struct.Struct("<I")


def varint(value: int) -> bytes:
    if value < 251:
        return bytes([value])
    if value < 1 << 16:
        return b"\xfb" + struct.pack("<H", value)
    return b"\xfc" + struct.pack("<I", value) if value < 1 << 32 else b"\xfd" + struct.pack("<Q", value)


def frame(payload: bytes) -> bytes:
    return _SIZE.pack(len(payload)) + payload


def version(number: int) -> bytes:
    return frame(b"\x01" + varint(number))


def public_key(point: bytes) -> bytes:
    return frame(b"\x02" + varint(len(point)) + point)


def client_id(number: int) -> bytes:
    return frame(b"\x03" + varint(number))


def response(blob: bytes) -> bytes:
    return frame(b"\x05" + varint(len(blob)) + blob)


VERSION = version(2)
PING = frame(b"\x00")


class Keys:
    """A key pair. Making one takes pure Python a while, so the tests share one."""

    def __init__(self) -> None:
        self._secret = ecdsa.SigningKey.generate(curve=ecdsa.SECP256k1)
        verifying = self._secret.get_verifying_key()
        self.public: bytes = verifying.to_string("compressed")
        self.uncompressed: bytes = verifying.to_string("uncompressed")
        self._derived: dict[bytes, bytes] = {}

    def session_key(self, server_point: bytes) -> bytes:
        if server_point not in self._derived:
            point = ecdsa.VerifyingKey.from_string(server_point, curve=ecdsa.SECP256k1).pubkey.point
            shared = point * self._secret.privkey.secret_multiplier
            assert shared != INFINITY
            extracted = hmac.new(INFO, int(shared.x()).to_bytes(32, "big"), hashlib.sha256).digest()
            self._derived[server_point] = hmac.new(extracted, INFO + b"\x01", hashlib.sha256).digest()
        return self._derived[server_point]


@functools.cache
def shared_keys() -> Keys:
    return Keys()


def seal(key: bytes, plaintext: bytes, nonce: bytes = b"") -> bytes:
    nonce = nonce or os.urandom(NONCE)
    return bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, None, nonce, key) + nonce


def unseal(key: bytes, blob: bytes) -> bytes:
    return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(blob[:-NONCE], None, blob[-NONCE:], key)


def connect(address: str, receive_buffer: int = 0) -> socket.socket:
    """A connected socket; `receive_buffer` bytes keep the kernel from taking much for a client that does not read."""
    if address.startswith("unix:"):
        sock, where = socket.socket(socket.AF_UNIX), address[len("unix:") :]
    else:
        host, _, port = address.rpartition(":")
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        where = (host.strip("[]"), int(port))
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(TIMEOUT)
    try:
        sock.connect(where)
    except OSError:
        sock.close()
        raise
    return sock


class RawClient:
    """One connection. `client_id` and `server_point` are known once a handshake has been made."""

    def __init__(self, address: str, *, receive_buffer: int = 0, keys: Keys | None = None) -> None:
        self.address = address
        self.keys = keys or shared_keys()
        self.sock = connect(address, receive_buffer)
        self.client_id = -1
        self.server_point = b""
        self._data = bytearray()
        self._position = 0

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- handshakes

    @classmethod
    def new(cls, address: str, behind: bytes = b"", *, receive_buffer: int = 0, keys: Keys | None = None) -> RawClient:
        """A new session, everything in one send, with the bytes `behind` it."""
        client = cls(address, receive_buffer=receive_buffer, keys=keys)
        client.greet(behind)
        return client.finish_new()

    def greet(self, behind: bytes = b"") -> None:
        """Say all that a new session's handshake takes."""
        self.send_raw(VERSION + public_key(self.keys.public) + behind)

    def finish_new(self) -> RawClient:
        """Take the two answers of a new session's handshake."""
        self.server_point = self.recv_packet(PUBKEY)
        self.client_id = self.recv_packet_number(CLIENT_ID)
        return self

    def come_back(self, behind: bytes = b"", *, receive_buffer: int = 0) -> RawClient:
        """Resume this client's session over a new connection; the old one is left as it is."""
        again = RawClient(self.address, receive_buffer=receive_buffer, keys=self.keys)
        blob = again.begin_resume(self.client_id)
        again.send_raw(response(again.answer(blob)) + PING + behind)
        return again.finish_resume()

    def begin_resume(self, number: int) -> bytes:
        """Claim a session; the challenge's blob."""
        self.send_raw(VERSION + client_id(number))
        self.client_id = number
        self.server_point = self.recv_packet(PUBKEY)
        return self.recv_packet(CHALLENGE)

    def answer(self, blob: bytes) -> bytes:
        """The proof: what was sealed, sealed again under a fresh nonce."""
        key = self.keys.session_key(self.server_point)
        secret = unseal(key, blob)
        assert len(secret) == 32
        return seal(key, secret)

    def finish_resume(self) -> RawClient:
        assert self.recv() == b"\x00", "the server's last handshake packet is Ping"
        return self

    def recv_packet(self, variant: int) -> bytes:
        """The bytes of a handshake packet of this variant."""
        payload = self.recv()
        assert payload[0] == variant, payload
        assert payload[1] == len(payload) - 2, payload
        return payload[2:]

    def recv_packet_number(self, variant: int) -> int:
        payload = self.recv()
        assert payload[0] == variant, payload
        if payload[1] < 251:
            assert len(payload) == 2
            return payload[1]
        return int.from_bytes(payload[2:], "little")

    # ---- data

    def send(self, *payloads: bytes) -> None:
        self.sock.sendall(b"".join(map(frame, payloads)))

    def send_raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def pop(self) -> bytes | None:
        """The next frame of those received."""
        begin = self._position + 4
        if begin > len(self._data):
            return None
        end = begin + _SIZE.unpack_from(self._data, self._position)[0]
        if end > len(self._data):
            return None
        self._position = end
        return bytes(memoryview(self._data)[begin:end])

    def fill(self) -> bool:
        """One recv. False at the end of the stream, however it came."""
        if self._position:
            del self._data[: self._position]
            self._position = 0
        try:
            received = self.sock.recv(1 << 18)
        except (ConnectionResetError, BrokenPipeError):
            return False
        self._data += received
        return bool(received)

    def recv(self) -> bytes:
        """The next frame. Raises EOFError, or the socket's TimeoutError."""
        while (payload := self.pop()) is None:
            if not self.fill():
                raise EOFError("the server closed the connection")
        return payload

    def recv_many(self, count: int) -> list[bytes]:
        return [self.recv() for _ in range(count)]

    def rest(self) -> Iterator[bytes]:
        """Every frame until the server closes."""
        while True:
            try:
                yield self.recv()
            except EOFError:
                return

    @property
    def unfinished(self) -> int:
        """Bytes received that are no whole frame."""
        return len(self._data) - self._position

    # ---- ends

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close the hard way: the server gets ECONNRESET."""
        end_hard(self.sock)
        self.sock.close()

    def leave(self) -> list[bytes]:
        """End the connection without losing anything: what we sent has been read, and what came is returned.

        When this returns the server has closed its side, so the session is stale.
        """
        self.no_more_to_say()
        rest = list(self.rest())
        self.close()
        return rest

    def no_more_to_say(self) -> None:
        """End our half of the stream; the server closes once it has read all we sent."""
        self.sock.shutdown(socket.SHUT_WR)
