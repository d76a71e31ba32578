"""The examples of part two of SPEC.txt, computed: two connections of one session, with fixed keys, and the rest."""

from __future__ import annotations

from voltlane.wire.framing import frame
from voltlane.wire.noise import REKEY_EVERY, Channel, Initiator, KeyPair, respond
from voltlane.wire.tagged import Flag, frame_tagged
from voltlane.wire.v3 import (
    Close,
    Code,
    Gap,
    Hello,
    Kind,
    Limits,
    Open,
    Resume,
    Retained,
    ServerPayload,
    Suite,
    Welcome,
    Why,
    branch_secret,
    clear_channel,
    proof,
    record,
    refusal,
    server_hello,
)


def counting(start: int, size: int = 32) -> bytes:
    """So many bytes that count up."""
    return bytes((start + number) % 256 for number in range(size))


STATIC = KeyPair(counting(0x20))
CLIENT = KeyPair(counting(0x40)), KeyPair(counting(0x50))
SERVER = KeyPair(counting(0x60)), KeyPair(counting(0x70))
HANDLE, OWN = counting(0x80, 16), counting(0x90)
ROOT = counting(0xB0), counting(0xC0)
BRANCH = 0x0102030405060708, 0x1112131415161718
RANDOM = [counting(0x60), ROOT[0], BRANCH[0].to_bytes(8, "little")]
RANDOM += [counting(0x70), ROOT[1], BRANCH[1].to_bytes(8, "little")]
"""What the server draws, in that order."""

WINDOW, CREDIT = 1 << 16, 65536
RETAINED = Retained(1000, 1 << 20)
LIMITS = Limits(8388599, Retained(8192, 8388608))
"""The defaults."""

EXAMPLES: dict[str, bytes] = {
    "key 3: server, static, private": counting(0x20),
    "key 3: server, static, public": STATIC.public,
    "key 3: client, ephemeral, private": counting(0x40),
    "key 3: client, ephemeral, public": CLIENT[0].public,
    "key 3: server, ephemeral, private": counting(0x60),
    "key 3: server, ephemeral, public": SERVER[0].public,
}


class _Side:
    """One direction of a connection."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def say(self, title: str, kind: int, ack: int, credit: int, body: bytes = b"") -> None:
        """A record, as it is before it is sealed and as it stands in the stream."""
        plain = record(kind, ack, credit, body)
        EXAMPLES[f"record: {title.split(' ')[2]}, {title.split(': ', 1)[1]}"] = plain
        EXAMPLES[title] = self._channel.seal_framed(plain)


def _connect(part: str, which: int) -> tuple[_Side, _Side, bytes]:
    """The first two messages; both directions, and the transcript hash."""
    hello = Hello((Suite.NOISE,), CLIENT[which].public)
    payload = ServerPayload(Suite.NOISE, LIMITS).encode()
    answer, ours = respond(hello.prologue, hello.random, STATIC, SERVER[which], payload)
    EXAMPLES[f"{part} 1, C to S: hello"] = frame(hello.encode())
    if not which:
        EXAMPLES["hello: the server's payload"] = payload
    EXAMPLES[f"{part} 2, S to C: server hello"] = frame(server_hello(Suite.NOISE, answer))
    EXAMPLES[f"{part}: transcript hash"] = ours.hash
    theirs, static, said = Initiator(hello.prologue, CLIENT[which]).finish(answer)
    assert (theirs.hash, static, said) == (ours.hash, STATIC.public, payload)
    EXAMPLES[f"{part}: key from C to S"] = theirs._keys[:32]
    EXAMPLES[f"{part}: key from S to C"] = ours._keys[:32]
    return _Side(theirs), _Side(ours), ours.hash


def _open() -> bytes:
    up, down, transcript = _connect("version 3 opening", 0)
    secret = branch_secret(ROOT[0], BRANCH[0])
    shown = proof(OWN, "server", transcript)
    up.say("version 3 opening 3, C to S: open", Kind.OPEN, 0, CREDIT, Open(HANDLE, OWN, RETAINED).encode())
    EXAMPLES["version 3 opening: the server's proof"] = shown
    EXAMPLES["secret: the root of generation 1"] = ROOT[0]
    EXAMPLES["secret: generation 1, that branch"] = secret
    welcome = Welcome(1, shown, 1, 1, BRANCH[0], secret, 0)
    down.say("version 3 opening 4, S to C: welcome", Kind.WELCOME, 0, WINDOW, welcome.encode())
    packets = frame(b"a") + frame(b"bc")
    up.say('version 3 opening 5, C to S: data, the packets "a" and "bc"', Kind.DATA, 0, CREDIT, packets)
    EXAMPLES["version 3 opening 6, S to M: both of client 1"] = frame_tagged(1, Flag.DATA, b"a") + frame_tagged(
        1, Flag.DATA, b"bc"
    )
    EXAMPLES['version 3 opening 7, M to S: data "hello" for client 1'] = frame_tagged(1, Flag.DATA, b"hello")
    down.say('version 3 opening 8, S to C: data, the packet "hello"', Kind.DATA, 2, WINDOW, frame(b"hello"))
    up.say("version 3 opening 9, C to S: ack", Kind.ACK, 1, CREDIT + 9)
    return secret


def _resume(secret: bytes) -> None:
    up, down, transcript = _connect("version 3 resume", 1)
    shown = proof(secret, "client", transcript)
    EXAMPLES["version 3 resume: the client's proof"] = shown
    resume = Resume(1, 1, BRANCH[0], shown, 1, 1, 2, 2, RETAINED)
    up.say("version 3 resume 3, C to S: resume", Kind.RESUME, 1, CREDIT, resume.encode())
    EXAMPLES["version 3 resume 4, S to M: reconnection of client 1"] = frame_tagged(1, Flag.RECONNECTION)
    answered = proof(secret, "server", transcript)
    welcome = Welcome(1, answered, 1, 2, BRANCH[1], branch_secret(ROOT[1], BRANCH[1]), 2)
    down.say("version 3 resume 5, S to C: welcome", Kind.WELCOME, 2, WINDOW, welcome.encode())
    missed = frame(b"one") + frame(b"two")
    down.say('version 3 resume 6, S to C: data, the missed packets "one" and "two"', Kind.DATA, 2, WINDOW, missed)
    up.say(
        "version 3 resume 7, C to S: close, it will come back",
        Kind.CLOSE,
        3,
        CREDIT + 14,
        Close(Code.AWAY, 3, "").encode(),
    )


def _rekey() -> None:
    channel = Channel(EXAMPLES["version 3 opening: key from C to S"], bytes(32), b"")
    channel._sealed = REKEY_EVERY
    message = channel.seal_framed(record(Kind.ACK, 1, CREDIT + 9))
    EXAMPLES["rekeyed: key from C to S behind 65536 records"] = channel._keys[:32]
    EXAMPLES["rekeyed: record number 65536, an ack"] = message


def _beside() -> None:
    clear = Hello((Suite.CLEAR,), counting(0xE0))
    answer = server_hello(Suite.CLEAR, counting(0xF0) + ServerPayload(Suite.CLEAR, LIMITS).encode())
    EXAMPLES["suite 0: hello"] = clear.encode()
    EXAMPLES["suite 0: server hello"] = answer
    EXAMPLES["suite 0: transcript hash"] = clear_channel(clear.encode(), answer).hash
    EXAMPLES["refusal: 3508"] = refusal(Code.NO_SUITE, "no")
    EXAMPLES["record: gap of the packets 2 to 5, for a limit"] = record(Kind.GAP, 0, 0, Gap(2, 5, Why.LIMIT).encode())
    EXAMPLES["record: ping"] = record(Kind.PING, 0, 0, b"are you there?")


_resume(_open())
_rekey()
_beside()
