"""A client of version 3 made from SPEC.txt alone, with none of the server's code, so that both cannot be wrong alike.

No threads, no timers, and nothing is tried again unasked: everything happens within the calls. When the connection is
gone, recv gives what had come and then raises: `Closed` with the other side's words, or another `ConnectionError`.
`connect` goes on from there; nothing is lost that is not told, and nothing comes twice. The state is in memory only.
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

DATA, ACK, OPEN, RESUME, WELCOME, GAP, CLOSE, PING, PONG = 0, 1, 2, 4, 6, 8, 12, 14, 16
PACKET_LIMIT, RECORD_LIMIT = 8388599, 65519
HEAD, WELCOMED, CLOSING = struct.Struct("<BQQ"), struct.Struct("<Q32sQIQ32sQ"), struct.Struct("<HQ")
seal, unseal = bindings.crypto_aead_chacha20poly1305_ietf_encrypt, bindings.crypto_aead_chacha20poly1305_ietf_decrypt
Gap = namedtuple("Gap", "first last why")  # these of the server's packets will not come
Uncertain = namedtuple("Uncertain", "first last")  # these of ours may have arrived, or not; they are not sent again


class Closed(ConnectionError):
    """The other side's close: its code, and (for some codes) what had arrived there."""

    def __init__(self, code: int, text: str, ack: int = 0, taken: int = 0) -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text, self.ack, self.taken = code, text, ack, taken


class Cipher:
    """One direction: its key, replaced each 65536 records, and how many there were. Without a key: suite 0."""

    def __init__(self, key: bytes = b"") -> None:
        self._key, self._count = key, 0

    def __call__(self, seal_or_unseal: object, message: bytes, also: bytes = b"") -> bytes:
        if self._key:
            if self._count and self._count % 65536 == 0:
                self._key = seal(bytes(32), b"", bytes(4) + b"\xff" * 8, self._key)[:32]
            message = seal_or_unseal(message, also, struct.pack("<4xQ", self._count), self._key)
            self._count += 1
        return message


def noise_nx(prologue: bytes, private: bytes, public: bytes, message: bytes) -> list[bytes]:
    """The initiator's side of Noise NX: the server's key, its payload, h, and the keys up to it and down from it."""

    def derive(secret: bytes) -> tuple[bytes, bytes]:
        key = hmac.digest(chain, secret, "sha256")
        return (first := hmac.digest(key, b"\1", "sha256")), hmac.digest(key, first + b"\2", "sha256")

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

    window, retained = 1 << 18, (4096, 1 << 22)  # bytes that wait for the application; what may wait for acks, at least

    def __init__(self, address: tuple[str, int], suites: tuple[int, ...] = (1,)) -> None:
        self.address, self.suites, self.server_keys = address, suites, ()
        self.over: Closed | None = None  # why nobody comes back to this session
        self.id = self.generation = self.branch = self.epoch = 0
        self.sent = self.acked = 0  # the last of our packets that may have been sent; that is safe with the server
        self.taken = self.safe = 0  # the last of the server's that we have; that the application has
        self._sock, self._server_limit, self._ack_after = None, PACKET_LIMIT, (1, 1)
        self._handle, self._secret = os.urandom(16), os.urandom(32)
        self._settled = self._last = self._forgotten = 0  # of ours: the last settled; the last; an earlier life's
        self._kept, self._inbox, self._waiting = deque(), deque(), 0  # number, frame; number, size, item; those sizes
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
                body = struct.pack("<QIQ32s", self.id, self.generation, self.branch, proof)
                body += struct.pack("<4Q", self.epoch, self.taken, self.sent, self.acked)
            self._write(RESUME if self.id else OPEN, body + struct.pack("<2I", *self.retained))
            self._welcome(hmac.digest(self._secret, b"VOLTLANE 3 server" + transcript, "sha256"))
        except (OSError, ValueError, struct.error, exceptions.CryptoError) as error:
            raise self._fail(error) from None
        self._pump()

    def send(self, packet: bytes) -> int:
        """Keep a packet until it is safe with the server; it goes as soon as the server lets it. Its number."""
        if len(packet) > self._server_limit:
            raise ValueError("the server takes no packet as large as this")
        self._last += 1
        self._kept.append((self._last, struct.pack("<I", len(packet)) + packet))
        self._pump()
        return self._last

    def recv(self, timeout: float) -> bytes | Gap | Uncertain | None:
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
        while self._kept and self._work():
            pass
        return not self._kept

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
        if isinstance(error, Closed) and 3000 <= error.code < 5000 and error.code % 1000 >= 500:
            self.over = error
            if error.code in (3501, 3502, 3503, 3508, 3509) and self._settled < self.sent:
                self._inbox.append((self.taken, 0, Uncertain(self._settled + 1, self.sent)))
        if self._sock:
            self._sock.close()
        self._sock, self._end = None, error if isinstance(error, ConnectionError) else ConnectionError(str(error))
        self._up, self._down, self._raw, self._stream = Cipher(), Cipher(), bytearray(), bytearray()  # and what came
        self._at, self._offset, self._told = len(self._kept), 0, 0  # what goes next, from which byte; the number before
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
        number, theirs, epoch, generation, branch, secret, taken = WELCOMED.unpack_from(record, HEAD.size)
        if not hmac.compare_digest(theirs, proof):
            raise ConnectionError("it is not the server")
        if taken > max(self.sent, self._forgotten):
            raise ValueError(3500, "packets were taken that we never sent")
        known = max(self._settled, HEAD.unpack_from(record)[1])
        if self.id and epoch != self.epoch and known < taken:
            self._settled = taken
            self._inbox.append((self.taken, 0, Uncertain(known + 1, taken)))
        self.sent, self._told, self._at = max(self.sent, taken), taken, sum(item[0] <= taken for item in self._kept)
        self._receive(record, first=True)
        self.id, self.epoch, self.generation, self.branch, self._secret = number, epoch, generation, branch, secret
        self._write(ACK)

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
        while self._at < len(self._kept) and self._used < self._allowed:
            body, most = bytearray(), min(RECORD_LIMIT - HEAD.size, self._allowed - self._used)
            if (number := self._kept[self._at][0]) > self._told + 1:  # why 3: the server has forgotten them; 2: we have
                self._write(GAP, struct.pack("<2QB", self._told + 1, number - 1, 2 + (self._told < self._settled)))
                self._told = number - 1
            while len(body) < most and self._at < len(self._kept) and self._kept[self._at][0] == self._told + 1:
                self.sent, frame = max(self.sent, self._told + 1), self._kept[self._at][1]
                start, self._offset = self._offset, min(len(frame), self._offset + most - len(body))
                body += frame[start : self._offset]
                if self._offset == len(frame):
                    self._told, self._at, self._offset = self._told + 1, self._at + 1, 0
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
        if first != (kind == WELCOME) or (kind % 2 == 0 and kind not in (DATA, WELCOME, GAP, PING, PONG)):
            raise ValueError(3500, f"a record of kind {kind}")
        if not self._ack_seen <= ack <= self._told or credit < self._allowed:
            raise ValueError(3500, "ack or credit went down, or the ack is above what was sent")
        self._ack_seen, self._allowed, self.acked = ack, credit, max(self.acked, ack)
        self._settled = max(self._settled, ack)
        while self._kept and self._kept[0][0] <= self._settled:
            self._kept.popleft()
            self._at -= 1
        if kind == PING:
            self._write(PONG, body)
        elif kind == GAP:
            begin, last, why = struct.unpack_from("<2QB", body)
            if begin > self.taken + 1 or self._stream:
                raise ValueError(3500, "a gap that leaves out a number, or stands within a packet")
            if last > self.taken:
                self._inbox.append((last, 0, Gap(self.taken + 1, last, why)))
                self.taken = last
        elif kind == DATA:
            self._received += len(body)
            if self._received > self._credit:
                raise ValueError(3500, "data past the credit")
            self._stream += body
            while len(self._stream) >= (end := 4 + int.from_bytes(self._stream[:4], "little")):
                self.taken, self._waiting = self.taken + 1, self._waiting + end
                self._inbox.append((self.taken, end, bytes(self._stream[4:end])))
                del self._stream[:end]
            if end > 4 + PACKET_LIMIT:
                raise ValueError(3511, "a packet over the limit")
