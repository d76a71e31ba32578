"""A client of version 3 made from SPEC.txt alone, with none of the server's code, so that both cannot be wrong alike.

    client = Client(("127.0.0.1", 42000)); client.connect(); client.send(b"hello"); item = client.recv(1.0)

No threads, no timers, and nothing is tried again unasked: everything happens within the calls. When the connection is
gone, recv gives what had come and then raises: `Closed` with the other side's words, or another `ConnectionError`.
`reconnect` goes on from there; no packet is lost, and none comes twice. The state is in memory only.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import socket
import struct
import time
from collections import deque, namedtuple

from nacl import bindings, exceptions

DATA, ACK, OPEN, RESUME, WELCOME, GAP, UNCERTAIN, CLOSE, PING, PONG = 0, 1, 2, 4, 6, 8, 10, 12, 14, 16
HEAD, WELCOMED, CLOSING = struct.Struct("<BQQ"), struct.Struct("<Q32sQI32sQ"), struct.Struct("<HQ")
seal, unseal = bindings.crypto_aead_chacha20poly1305_ietf_encrypt, bindings.crypto_aead_chacha20poly1305_ietf_decrypt
Told = namedtuple("Told", "kind first last why")  # GAP: these will not come. UNCERTAIN: these of ours may have arrived


class Closed(ConnectionError):
    """The other side's close: for codes that say so, `ack` and `taken` are what had arrived there."""

    def __init__(self, code: int, text: str, ack: int = 0, taken: int = 0) -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text, self.ack, self.taken = code, text, ack, taken


class Cipher:
    """One direction: its key, replaced each 65536 records, and how many there were. Without a key: suite 0."""

    def __init__(self, key: bytes = b"") -> None:
        self._key, self._count = key, 0

    def __call__(self, seal_or_unseal: object, message: bytes, also: bytes = b"") -> bytes:
        if not self._key:
            return message
        if self._count and self._count % 65536 == 0:
            self._key = seal(bytes(32), b"", bytes(4) + b"\xff" * 8, self._key)[:32]
        self._count += 1
        return seal_or_unseal(message, also, struct.pack("<4xQ", self._count - 1), self._key)


def noise_nx(prologue: bytes, private: bytes, public: bytes, message: bytes) -> list[bytes]:
    """The initiator's side of Noise NX: the server's key, its payload, h, and the keys up to it and down from it."""

    def derive(secret: bytes) -> tuple[bytes, bytes]:
        extracted = hmac.digest(chain, secret, "sha256")
        first = hmac.digest(extracted, b"\1", "sha256")
        return first, hmac.digest(extracted, first + b"\2", "sha256")

    chain = h = b"Noise_NX_25519_ChaChaPoly_SHA256"
    opened = [message[:32]]
    for part in (prologue, public, b"", *opened):  # b"" is the empty payload of message 1
        h = hashlib.sha256(h + part).digest()
    for sealed in (message[32:80], message[80:]):
        chain, key = derive(bindings.crypto_scalarmult(private, opened[-1]))
        opened.append(Cipher(key)(unseal, sealed, h))
        h = hashlib.sha256(h + sealed).digest()
    return [*opened[1:], h, *derive(b"")]


class Client:
    """One session. Its suites, best first; of the server's keys any in `server_keys`, or the first that it meets."""

    packet_limit, window = 8388599, 1 << 18  # of what comes: one packet; all that the application has not taken
    retained = 4096, 1 << 22  # at least so many packets and bytes are kept here: acks come at a quarter of that

    def __init__(self, address: tuple[str, int], suites: tuple[int, ...] = (1,)) -> None:
        self.address, self.suites, self.server_keys = address, suites, ()
        self.over: Closed | None = None  # why nobody comes back to this session
        self.id = self.generation = self.epoch = 0
        self.sent = self.acked = 0  # the last of our packets that may have been sent; that is safe with the server
        self.taken = self.safe = 0  # the last of the server's that we have; that the application has
        self._sock, self._server_limit, self._ack_after = None, self.packet_limit, (1, 1)
        self._handle, self._secret = os.urandom(16), os.urandom(32)
        self._first, self._retained = 1, deque()  # frames of our packets that are not safe, and the first one's number
        self._waiting, self._inbox = 0, deque()  # what the application has not taken: number, size, item; all the bytes
        self._fail(ConnectionError("not connected yet"))

    def connect(self, timeout: float = 10.0) -> None:
        """Open the session, or resume it on a new connection. After an error it may be called again."""
        if self.over:
            raise self.over
        self._fail(ConnectionError("another connection follows"))
        self._deadline = time.monotonic() + timeout
        try:
            self._sock = socket.create_connection(self.address, timeout)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transcript, body = self._shake_hands(), self._handle + self._secret
            if self.id:
                proof = hmac.digest(self._secret, b"VOLTLANE 3 client" + transcript, "sha256")
                known = self.epoch, self.taken, self.sent, self.acked
                body = struct.pack("<QI32s4Q", self.id, self.generation, proof, *known)
            self._write(RESUME if self.id else OPEN, body + struct.pack("<3I", self.packet_limit, *self.retained))
            self._welcome(hmac.digest(self._secret, b"VOLTLANE 3 server" + transcript, "sha256"))
        except (OSError, ValueError, struct.error, exceptions.CryptoError) as error:
            raise self._fail(error) from None
        self._pump()

    reconnect = connect

    def send(self, packet: bytes) -> int:
        """Keep a packet until it is safe with the server; it goes as soon as the server lets it. Its number."""
        if len(packet) > self._server_limit:
            raise ValueError("the server takes no packet as large as this")
        self._retained.append(struct.pack("<I", len(packet)) + packet)
        self._pump()
        return self._first + len(self._retained) - 1

    def recv(self, timeout: float) -> bytes | Told | None:
        """The next packet, or what is told in place of some; None after `timeout` seconds. It is safe with us now."""
        self._deadline = time.monotonic() + timeout
        while not self._inbox:
            if not self._work():
                return None
        self.safe, size, item = self._inbox.popleft()
        self._waiting, self._safe_bytes = self._waiting - size, self._safe_bytes + size
        self._ack()
        return item

    def flush(self, timeout: float) -> bool:
        """Wait until all is safe with the server; whether it is. It may take none while too much waits here: recv."""
        self._deadline = time.monotonic() + timeout
        while self._retained and self._work():
            pass
        return not self._retained

    def close(self, code: int = 3510, text: str = "") -> None:
        """Leave: for good (3510; flush before), or to come back (3005)."""
        self._write(CLOSE, CLOSING.pack(code, self.taken) + text.encode())
        with contextlib.suppress(OSError, AttributeError):  # there is no connection, or no more
            self._sock.shutdown(socket.SHUT_WR)
            self._deadline = time.monotonic() + 2.0
            all(iter(self._message, b""))  # what is unread at the end would make the system reset the connection
        self._fail(Closed(code, text))

    def _fail(self, error: Exception) -> Exception:
        """End the connection, telling the other side if it broke the protocol. What to raise."""
        if isinstance(error, (ValueError, struct.error)):
            code, text = error.args if len(error.args) == 2 else (3500, str(error))
            self._write(CLOSE, CLOSING.pack(code, self.taken) + text.encode())
        if isinstance(error, Closed) and error.code % 1000 >= 500:
            self.over = error
        if self._sock:
            self._sock.close()
        self._sock, self._end = None, error if isinstance(error, ConnectionError) else ConnectionError(str(error))
        self._raw, self._stream = bytearray(), bytearray()  # what came: of messages, of packets
        self._up, self._down = Cipher(), Cipher()
        self._next, self._offset = self._first + len(self._retained), 0  # what goes next: a packet, from this byte on
        self._used = self._allowed = self._ack_seen = 0  # up: bytes sent, credit for them, the last ack
        self._received = self._credit = self._ack_told = self._safe_bytes = 0  # down: the same, and bytes not acked
        return self._end

    def _shake_hands(self) -> bytes:
        """The hellos of both sides; the transcript hash."""
        private = os.urandom(32)
        head, public = bytes([0x56, 3, len(self.suites), *self.suites]), bindings.crypto_scalarmult_base(private)
        self._put(head + public)
        answer = self._message()
        if answer[:1] != b"\x56" or len(answer) < 2 or answer[1] not in self.suites:  # a refusal: only this attempt's
            raise ConnectionError(f"no server hello: {answer[2:]!r}")
        transcript, payload, key = hashlib.sha256(head + public + answer).digest(), answer[34:], b""
        if answer[1] == 1:
            key, payload, transcript, *keys = noise_nx(b"Voltlane 3" + head, private, public, answer[2:])
            self._up, self._down = map(Cipher, keys)
        suite, self._server_limit, packets, size, count = struct.unpack_from("<B3IB", payload)
        if suite != answer[1] or (key and self.server_keys and key not in self.server_keys):
            raise ConnectionError("another suite was meant, or it is another server")
        if key:
            self.server_keys = (key, *(payload[at : at + 32] for at in range(14, 14 + 32 * count, 32)))
        self.suites, self._ack_after = (suite,), (max(packets // 4, 1), max(size // 4, 1))
        return transcript

    def _welcome(self, proof: bytes) -> None:
        """Check the server's first record, go by it, and confirm it."""
        record = self._down(unseal, self._message())
        if record[:1] != bytes([WELCOME]):
            self._receive(record, first=True)  # a close, or it is an error
        number, theirs, epoch, generation, secret, taken = WELCOMED.unpack_from(record, HEAD.size)
        if not hmac.compare_digest(theirs, proof) or taken > self.sent:
            raise ConnectionError("it is not the server, or knows of packets that we never sent")
        self._next = max(taken + 1, self._first)
        self._receive(record, first=True)
        self.id, self.epoch, self.generation, self._secret = number, epoch, generation, secret
        self._write(ACK)
        if self._next > taken + 1:  # the server does not know any more of packets that it had called safe
            self._write(GAP, struct.pack("<2QB", taken + 1, self._next - 1, 3))

    def _put(self, message: bytes) -> None:
        """Send a message. If that fails, what has come can still be read, and behind it the end."""
        try:
            self._sock.settimeout(10.0)
            self._sock.sendall(struct.pack("<I", len(message)) + message)
        except OSError:
            self._allowed = 0
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)

    def _write(self, kind: int, body: bytes = b"") -> None:
        """Send a record, if there is a connection."""
        if self._sock:
            self._credit = max(self._credit, self._received - self._waiting + self.window)
            self._ack_told, self._safe_bytes = self.safe, 0
            self._put(self._up(seal, HEAD.pack(kind, self.safe, self._credit) + body))

    def _ack(self, after: int = 0) -> None:
        """Say alone what is safe, and how much more may come, when it is time for that."""
        due = self.safe - self._ack_told >= (after or self._ack_after[0]) or self._safe_bytes >= self._ack_after[1]
        if due or self._received - self._waiting + self.window // 2 >= self._credit:
            self._write(ACK)

    def _pump(self) -> None:
        """Send what there is to send, as far as the credit goes."""
        end = self._first + len(self._retained)
        while self._next < end and self._used < self._allowed:
            body, most = bytearray(), min(65519 - HEAD.size, self._allowed - self._used)
            while self._next < end and len(body) < most:
                self.sent = max(self.sent, self._next)
                frame = self._retained[self._next - self._first]
                start, self._offset = self._offset, min(len(frame), self._offset + most - len(body))
                body += frame[start : self._offset]
                if self._offset == len(frame):
                    self._next, self._offset = self._next + 1, 0
            self._used += len(body)
            self._write(DATA, body)

    def _message(self) -> bytes:
        """The next message; `socket.timeout` if it is not there in time."""
        while len(self._raw) < (end := 4 + int.from_bytes(self._raw[:4], "little")):
            self._sock.settimeout(max(self._deadline - time.monotonic(), 0.001))
            data = self._sock.recv(1 << 18)
            self._raw += data
            if not data or any(self._raw[2:4]):
                raise ConnectionError("the connection has ended" if not data else "too large a message")
        message = bytes(self._raw[4:end])
        del self._raw[:end]
        return message

    def _work(self) -> bool:
        """Send what there is to say, and go by one message; false if none came in time."""
        if not self._sock:
            raise self._end
        try:
            self._pump()
            self._ack(after=0 if self._raw else 1)
            self._receive(self._down(unseal, self._message()))
        except socket.timeout:
            return False
        except (OSError, ValueError, struct.error, exceptions.CryptoError) as error:
            raise self._fail(error) from None
        return True

    def _receive(self, record: bytes, first: bool = False) -> None:
        """Go by one record, but for the body of a welcome, which comes first and only first."""
        (kind, ack, credit), body = HEAD.unpack_from(record), record[HEAD.size :]
        if kind == CLOSE:
            code, taken = CLOSING.unpack_from(body)
            raise Closed(code, body[CLOSING.size :].decode(errors="replace"), ack, taken)
        if first != (kind == WELCOME) or kind in (OPEN, RESUME) or (kind > PONG and kind % 2 == 0):
            raise ValueError(3500, f"a record of kind {kind}")
        if not self._ack_seen <= ack < self._next or credit < self._allowed:
            raise ValueError(3500, "ack or credit went down, or the ack is above what was sent")
        self._ack_seen, self._allowed, self.acked, settled = ack, credit, max(self.acked, ack), ack
        if kind == PING:
            self._write(PONG, body)
        elif kind == UNCERTAIN:
            begin, settled = struct.unpack_from("<2Q", body)
            self._inbox.append((self.taken, 0, Told(kind, begin, settled, 0)))
        elif kind == GAP:
            begin, last, why = struct.unpack_from("<2QB", body)
            if begin > self.taken + 1 or self._stream:
                raise ValueError(3500, "a gap that leaves out a number, or stands within a packet")
            if last > self.taken:
                self._inbox.append((last, 0, Told(kind, self.taken + 1, last, why)))
                self.taken = last
        elif kind == DATA:
            self._received, most = self._received + len(body), self.packet_limit + 4
            if self._received > self._credit:
                raise ValueError(3500, "data past the credit")
            self._stream += body
            while len(self._stream) >= (end := 4 + int.from_bytes(self._stream[:4], "little")) or end > most:
                if end > most:
                    raise ValueError(3511, "a packet over the limit")
                self.taken, self._waiting = self.taken + 1, self._waiting + end
                self._inbox.append((self.taken, end, bytes(self._stream[4:end])))
                del self._stream[:end]
        while self._first <= min(settled, self._next - 1):
            self._retained.popleft()
            self._first += 1
