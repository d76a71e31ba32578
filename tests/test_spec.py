"""SPEC.txt holds: every example is computed anew, the two transcripts are played, and its tables are the code's."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path

import pytest
from kit import examples, examples_datagrams
from kit.vectors import VECTORS, unhex
from kit.wait import wait_until

from voltlane import config
from voltlane.core import hub
from voltlane.core.ids import Ids
from voltlane.core.protocols import v2 as handshake
from voltlane.errors import MalformedTag, ProtocolError, UnknownFlag
from voltlane.server import Server
from voltlane.wire import v2 as wire
from voltlane.wire.crypto import (
    INFO,
    NONCE_SIZE,
    SALT,
    TAG_SIZE,
    check_point,
    check_proof,
    hkdf_sha256,
    open_sealed,
    seal,
    session_key,
)
from voltlane.wire.curve import PrivateKey
from voltlane.wire.framing import GOODBYE, MAX_TAGGED, FrameBuffer, frame
from voltlane.wire.tagged import FLAGS, Flag, decode_tagged, frame_tagged
from voltlane.wire.v2 import (
    MAX_HANDSHAKE_FRAME,
    Challenge,
    ChallengeResponse,
    ClientId,
    Packet,
    Ping,
    ProtocolVersion,
    PubKey,
    decode,
    encode,
    encode_varint,
)

TEXT = (Path(__file__).parent.parent / "SPEC.txt").read_text(encoding="utf-8")


def parse_examples(text: str) -> list[tuple[str, bytes]]:
    """Each `    [name]` line with the bytes of the `    > hex` lines under it."""
    found = re.findall(r"^    \[(.+)\]\n((?:    > [0-9a-f ]+\n)+)", text, flags=re.MULTILINE)
    return [(name, bytes.fromhex(block.replace(">", ""))) for name, block in found]


EXAMPLES = dict(parse_examples(TEXT))

CRYPTO = VECTORS["crypto"]
SERVER, CLIENT = PrivateKey(unhex(CRYPTO, "server_private")), PrivateKey(unhex(CRYPTO, "client_private"))
KEY = session_key(SERVER, CLIENT.public)
PLAINTEXT = unhex(CRYPTO["seal"][0], "plaintext")
CHALLENGE_NONCE, RESPONSE_NONCE = (unhex(entry, "nonce") for entry in CRYPTO["seal"])
CHALLENGE, RESPONSE = seal(KEY, PLAINTEXT, CHALLENGE_NONCE), seal(KEY, PLAINTEXT, RESPONSE_NONCE)
UNCOMPRESSED = b"\x04" + CLIENT.public[1:] + EXAMPLES["key: client public, uncompressed"][33:]


def framed(*those: Packet) -> bytes:
    """Handshake packets as they stand in the stream."""
    return b"".join(frame(encode(packet)) for packet in those)


COMPUTED = {
    "an example: the u32 number 258": (258).to_bytes(4, "little"),
    "frame: an empty packet": frame(b""),
    'frame: the packet "hi"': frame(b"hi"),
    'frame: two packets, "a" and "bc", as they stand in a stream': frame(b"a") + frame(b"bc"),
    "varint: 250": encode_varint(250),
    "varint: 251": encode_varint(251),
    "varint: 65536": encode_varint(65536),
    "varint: 2^64 - 1": encode_varint(2**64 - 1),
    "packet: Ping": encode(Ping()),
    "packet: ProtocolVersion(2)": encode(ProtocolVersion(2)),
    "packet: PubKey, compressed": encode(PubKey(SERVER.public)),
    "packet: ClientId(1)": encode(ClientId(1)),
    "packet: ClientId(65536)": encode(ClientId(65536)),
    "packet: Challenge": encode(Challenge(CHALLENGE)),
    "packet: ChallengeResponse": encode(ChallengeResponse(RESPONSE)),
    "key: server private": unhex(CRYPTO, "server_private"),
    "key: server public": SERVER.public,
    "key: client private": unhex(CRYPTO, "client_private"),
    "key: client public": CLIENT.public,
    "key: client public, uncompressed": UNCOMPRESSED,
    "key: shared secret": CLIENT.exchange(SERVER.public),
    "key: session key": hkdf_sha256(SERVER.exchange(UNCOMPRESSED), SALT, INFO),
    "blob: the challenge's 32 bytes": PLAINTEXT,
    "blob: the challenge's nonce": CHALLENGE_NONCE,
    "blob: the challenge, sealed": CHALLENGE,
    "blob: the response's nonce": RESPONSE_NONCE,
    "blob: the response, sealed": RESPONSE,
    "new session 1, C to S: ProtocolVersion(2)": framed(ProtocolVersion(2)),
    "new session 2, S to C: PubKey(server)": framed(PubKey(SERVER.public)),
    "new session 3, C to S: PubKey(client)": framed(PubKey(CLIENT.public)),
    "new session 4, S to C: ClientId(1)": framed(ClientId(1)),
    'new session 5, C to S: data "hello"': frame(b"hello"),
    'new session 6, S to M: data "hello" of client 1': frame_tagged(1, Flag.DATA, b"hello"),
    'new session 7, M to S: data "welcome" for client 1': frame_tagged(1, Flag.DATA, b"welcome"),
    'new session 8, S to C: data "welcome"': frame(b"welcome"),
    "resume 1, C to S: ProtocolVersion(2)": framed(ProtocolVersion(2)),
    "resume 2, S to C: PubKey(server)": framed(PubKey(SERVER.public)),
    "resume 3, C to S: ClientId(1)": framed(ClientId(1)),
    "resume 4, S to C: Challenge": framed(Challenge(CHALLENGE)),
    "resume 5, C to S: ChallengeResponse, then Ping": framed(ChallengeResponse(RESPONSE), Ping()),
    "resume 6, S to M: reconnection of client 1": frame_tagged(1, Flag.RECONNECTION),
    'resume 7, S to C: Ping, then the missed packets "one" and "two"': framed(Ping()) + frame(b"one") + frame(b"two"),
    "refused response, C to S: the challenge reflected": framed(ChallengeResponse(CHALLENGE)),
    "goodbye, C to S: behind the last packet": GOODBYE,
    "tagged: empty data of client 0": frame_tagged(0, Flag.DATA),
    'tagged: data "hello" of client 1': frame_tagged(1, Flag.DATA, b"hello"),
    'tagged: failure of client 7, "Client disconnected"': frame_tagged(7, Flag.FAILURE, b"Client disconnected"),
    "tagged: kick of client 9": frame_tagged(9, Flag.KICK),
    "tagged: reconnection of client 10": frame_tagged(10, Flag.RECONNECTION),
    "malformed tagged: eight bytes, no flag": frame(bytes(8)),
    "malformed tagged: flag 200": frame_tagged(1, 200),
    **examples.EXAMPLES,
    **examples_datagrams.EXAMPLES,
}


class TestExamples:
    def test_they_are_found(self):
        """Every line of hex belongs to an example, and every name is used once."""
        lines = [line for line in TEXT.splitlines() if line.lstrip().startswith(">")]
        assert sum(len(data) for _, data in parse_examples(TEXT)) == sum(
            len(bytes.fromhex(line.strip(" >"))) for line in lines
        )
        assert len(EXAMPLES) == len(parse_examples(TEXT)) == len(re.findall(r"^    \[", TEXT, flags=re.MULTILINE))

    def test_every_one_is_computed(self):
        assert EXAMPLES.keys() == COMPUTED.keys()

    @pytest.mark.parametrize("name", COMPUTED)
    def test_bytes(self, name):
        assert EXAMPLES[name] == COMPUTED[name]

    def test_they_use_the_golden_vectors(self):
        assert EXAMPLES["key: session key"] == unhex(CRYPTO, "key")
        assert EXAMPLES["key: shared secret"] == unhex(CRYPTO, "ecdh_shared_x")
        assert EXAMPLES["blob: the challenge, sealed"] == unhex(CRYPTO["seal"][0], "blob")
        assert EXAMPLES["blob: the response, sealed"] == unhex(CRYPTO["seal"][1], "blob")
        check_point(EXAMPLES["key: client public, uncompressed"])

    @pytest.mark.parametrize(
        ("name", "error"),
        [("malformed tagged: eight bytes, no flag", MalformedTag), ("malformed tagged: flag 200", UnknownFlag)],
    )
    def test_the_malformed_are_refused(self, name, error):
        with pytest.raises(error):
            decode_tagged(EXAMPLES[name][4:])


def transcript(name: str) -> list[tuple[str, bytes]]:
    """The steps of a transcript: who sends to whom, and the bytes."""
    steps = [
        (int(match[2]), match[3], data)
        for title, data in EXAMPLES.items()
        if (match := re.match(r"(.+) (\d+), (. to .): ", title)) and match[1] == name
    ]
    assert [number for number, _, _ in steps] == list(range(1, len(steps) + 1))
    return [(direction, data) for _, direction, data in steps]


class Stage:
    """A real server with the spec's keys, random bytes and nonce; its master and its clients are bare sockets."""

    def __init__(self, server: Server, master: socket.socket) -> None:
        self.server = server
        self.master = master

    def play(self, steps: list[tuple[str, bytes]], client: socket.socket) -> None:
        """Send what the others send, and expect from the server exactly what the spec says it sends."""
        ends = {"C": client, "M": self.master}
        for (sender, _, receiver), data in ((direction.split(), data) for direction, data in steps):
            if receiver == "S":
                ends[sender].sendall(data)
            else:
                assert _receive(ends[receiver], len(data)) == data

    def connect(self) -> socket.socket:
        assert self.server.listen_address is not None
        return socket.create_connection(("127.0.0.1", self.server.listen_address.port), timeout=10)

    def speak_version_3(self) -> None:
        """Have the server's key and all that it draws from now on as in section 21."""
        drawn = iter(examples.RANDOM)
        context = self.server.arrivals.context
        self.server.arrivals.context = context._replace(channel_key=examples.STATIC, random=lambda size: next(drawn))

    def first_session(self, name: str = "new session") -> None:
        """Play the new session, then cut it and have the master send the two packets that are missed."""
        with self.connect() as client:
            self.play(transcript(name), client)
        wait_until(lambda: self.server.registry.stale_count == 1, "the session to become stale")
        self.master.sendall(frame_tagged(1, Flag.DATA, b"one") + frame_tagged(1, Flag.DATA, b"two"))
        wait_until(lambda: self.server.counters.packets_down == 3, "the missed packets to be kept")


@pytest.fixture
def stage(monkeypatch):
    monkeypatch.setattr(handshake, "seal", lambda key, plaintext: seal(key, plaintext, CHALLENGE_NONCE))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        flags = {"listener.address": "127.0.0.1:0", "master.address": f"127.0.0.1:{listening.getsockname()[1]}"}
        flags["clients.ack_secs"] = "60"  # an ack that goes alone stands in no example
        server = Server(config.load(None, {}, flags), key=SERVER)
        server.registry.ids = Ids()
        server.arrivals.context = server.arrivals.context._replace(random=lambda size: PLAINTEXT[:size])
        server.start()
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            listening.settimeout(10)
            master, _ = listening.accept()
            with master:
                master.settimeout(10)
                yield Stage(server, master)
        finally:
            server.stop()
            thread.join(10)
            assert not thread.is_alive()


def _receive(sock: socket.socket, size: int) -> bytes:
    """So many bytes, or what there was before the end of the stream."""
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data


def _payloads(data: bytes):
    buffer = FrameBuffer(MAX_TAGGED)
    buffer.feed(data)
    yield from buffer
    assert len(buffer) == 0


class TestTranscripts:
    def test_a_new_session_and_its_resume(self, stage):
        stage.first_session()
        with stage.connect() as client:
            stage.play(transcript("resume"), client)

    def test_version_3(self, stage):
        """Sealed bytes and all. The server ends its side when the client has said close."""
        stage.speak_version_3()
        stage.first_session("version 3 opening")
        with stage.connect() as client:
            stage.play(transcript("version 3 resume"), client)
            assert _receive(client, 1) == b""

    def test_a_client_may_send_without_waiting(self, stage):
        """Section 5: everything that the client sends in a transcript, at once."""
        with stage.connect() as client:
            client.sendall(b"".join(data for direction, data in transcript("new session") if direction == "C to S"))
            stage.play([step for step in transcript("new session") if step[0] != "C to S"], client)

    def test_the_reflected_challenge_is_refused(self, stage):
        stage.first_session()
        with stage.connect() as client:
            stage.play(transcript("resume")[:4], client)
            client.sendall(EXAMPLES["refused response, C to S: the challenge reflected"])
            assert _receive(client, 1) == b""
        with stage.connect() as client:  # and its owner finds everything as it was
            stage.play(transcript("resume"), client)

    @pytest.mark.parametrize("name", [name for name in EXAMPLES if name.startswith("malformed tagged: ")])
    def test_a_malformed_packet_closes_the_firehose(self, stage, name):
        stage.master.sendall(EXAMPLES[name])
        assert _receive(stage.master, 1) == b""

    def test_a_client_that_has_only_the_spec(self):
        """The client's part of a resume, from the server's bytes alone."""
        steps = transcript("resume")
        own = PrivateKey(EXAMPLES["key: client private"])
        server, challenge, last = (data for direction, data in steps if direction == "S to C")
        key = session_key(own, decode(server[4:]).point)
        plaintext = open_sealed(key, decode(challenge[4:]).blob)
        response, ping = map(decode, _payloads(steps[4][1]))
        check_proof(key, plaintext, decode(challenge[4:]).blob, response.blob)
        assert ping == Ping()
        first, *missed = _payloads(last)
        assert (decode(first), missed) == (Ping(), [b"one", b"two"])


def table(first: str, columns: int) -> list[list[str]]:
    """The rows of the table whose heading row begins so."""
    lines = TEXT.split(f"    {first}", 1)[1].splitlines()[1:]
    rows = []
    for line in lines:
        if not line.strip():
            break
        rows.append(re.split(r"  +", line.strip(), maxsplit=columns - 1))
    return rows


class TestTables:
    def test_handshake_packets(self):
        rows = table("variant  name", 4)
        kinds = {0: Ping, 1: ProtocolVersion, 2: PubKey, 3: ClientId, 4: Challenge, 5: ChallengeResponse}
        assert {int(number): name for number, name, _, _ in rows} == {n: kind.__name__ for n, kind in kinds.items()}
        samples = {"none": (), "u32 as varint": (7,), "u64 as varint": (7,), "byte vector": (b"x",)}
        for number, _, field, _ in rows:
            packet = kinds[int(number)](*samples[field])
            assert encode(packet)[0] == int(number) and decode(encode(packet)) == packet
            if field.endswith("as varint"):
                bits = int(field[1:3])
                assert decode(bytes([int(number)]) + encode_varint(2**bits - 1))[0] == 2**bits - 1
                if bits < 64:
                    with pytest.raises(ProtocolError):
                        decode(bytes([int(number)]) + encode_varint(2**bits))

    def test_flags(self):
        rows = table("flag  name", 3)
        assert [(int(number), name.upper()) for number, name, _ in rows] == [(flag.value, flag.name) for flag in FLAGS]

    def test_limits_of_the_protocol(self):
        rows = dict(re.findall(r"^    (\w[\w ]+?)  +([\d^ -]+)", TEXT.split("Fixed by the protocol:")[1], re.MULTILINE))
        assert int(rows["handshake frame"]) == MAX_HANDSHAKE_FRAME
        assert int(rows["sealed blob"]) == TAG_SIZE + NONCE_SIZE
        assert int(rows["tagged packet"]) == MAX_TAGGED
        assert int(rows["protocol version"]) == wire.VERSION
        assert f"{len(CHALLENGE)}" in TEXT.split("sealed blob  ")[1].splitlines()[0]
        largest = max(
            len(encode(packet)) for packet in (PubKey(UNCOMPRESSED), Challenge(CHALLENGE), ClientId(2**64 - 1))
        )
        assert f"at most {MAX_HANDSHAKE_FRAME} bytes; the largest valid one has {largest}." in TEXT

    def test_settings(self):
        rows = re.findall(r"^    ([a-z]+)\.([a-z_]+)  +(\S+)", TEXT, flags=re.MULTILINE)
        assert len(rows) >= 17
        for section, key, given in rows:
            assert given == config.SETTINGS[f"{section}.{key}"].default_text

    def test_units_of_the_settings(self):
        rows = re.findall(r"^    (\w+\.\w+)  +[\d.]+ +(\w+)", TEXT, flags=re.MULTILINE)
        assert len(rows) >= 15
        assert {name: unit for name, unit in rows} == {name: config.SETTINGS[name].unit for name, _ in rows}

    def test_reasons_of_a_failure(self):
        """The texts that the server sends are those of section 6.2, and no others."""
        sent = {notice.decode() for notice in hub._END_NOTICE.values() if notice} | {hub.CLIENT_NOT_FOUND.decode()}
        section = TEXT.split("\n6.2  ")[1].split("\n6.3  ")[0]
        assert set(re.findall(r'^ {16}"([^"]+)" ', section, flags=re.MULTILINE)) == sent


class TestText:
    def test_every_section_is_there(self):
        """The numbers that docstrings in the package refer to."""
        headings = re.findall(r"^(\d+(?:\.\d)?)  \S", TEXT, flags=re.MULTILINE)
        assert headings == [
            "1",
            "2",
            "3",
            "4",
            "5",
            "5.1",
            "5.2",
            "5.3",
            "5.4",
            "6",
            "6.1",
            "6.2",
            "6.3",
            "6.4",
            "7",
            "8",
            "9",
            *map(str, range(10, 31)),
        ]
        package = Path(__file__).parent.parent / "voltlane"
        referred = {
            number
            for path in package.rglob("*.py")
            for numbers in re.findall(r"SPEC ([\d.]+(?:, [\d.]+)*)", path.read_text(encoding="utf-8"))
            for number in re.split(", ", numbers)
        }
        assert {number.rstrip(".") for number in referred} <= set(headings)

    def test_lines_fit_on_a_terminal(self):
        assert [line for line in TEXT.splitlines() if len(line) > 120 or line != line.rstrip()] == []
