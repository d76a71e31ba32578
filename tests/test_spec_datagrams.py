"""The tables of SPEC.txt, part three, are the code's: kinds, layout, labels, numbers; and its examples follow from one
another as it says."""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
from pathlib import Path

from kit.examples_datagrams import CLIENT, EXAMPLES, KEEPALIVE, MTU, PORT, ROOT, SECRET, SEEDS, SERVER, WORDS
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_decrypt as decrypt

from voltlane.client.datagram_keys import KeyedDatagrams
from voltlane.client.datagram_link import DatagramLink
from voltlane.wire import datagram as wire
from voltlane.wire import v3
from voltlane.wire.datagram import Kind, open_datagram

TEXT = (Path(__file__).parent.parent / "SPEC.txt").read_text(encoding="utf-8").split("PART THREE: DATAGRAMS", 1)[1]


def section(number: int) -> str:
    return re.split(r"^\d+  [A-Z]", TEXT.split(f"\n{number}  ", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def sizes(line: str) -> list[int]:
    """Bytes of the fields of a layout."""
    return [int(bits or 0) // 8 + int(size or 0) for bits, size in re.findall(r"\bu(\d+) |\b(\d+) bytes", line)]


def test_kinds():
    found = re.findall(r"^ {4}(\d)  +(\w+)", section(25).split("kind  name")[1].split("\n\n")[0], re.MULTILINE)
    assert {int(number): name.upper() for number, name in found} == {kind.value: kind.name for kind in Kind}


def test_kinds_of_records_stand_in_the_text():
    text = section(23)
    assert f"ask, from the client (kind {v3.Kind.ASK.value})" in text
    assert f"datagrams, from the server (kind {v3.Kind.DATAGRAMS.value})" in text


def test_layouts():
    layout = section(25)
    assert sizes(layout.split("8 bytes id")[0] + "8 bytes id ‖ u64 number")[:2] == [8, 8] and wire.HEAD_SIZE == 16
    inner = next(line for line in layout.splitlines() if "u8 kind" in line)
    assert sum(sizes(inner)) == wire.INNER_SIZE
    assert f"So {wire.SMALLEST} bytes stand around a body" in layout
    assert wire.COUNTS.size == 16 and "u64 above ‖ u64 received" in layout
    answer = section(23).split("datagrams, from the server (kind 21):")[1].split("\n\n")[0]
    assert sum(sizes(answer)) == len(v3.NO_DATAGRAMS)
    assert f"ask, from the client (kind 19):           {wire.SEED_SIZE} bytes" in section(23)


def test_labels():
    text = section(24)
    label = re.search(r'HMAC-SHA256\(secret, "([^"]+)"', text)
    assert label is not None
    root = hmac.new(SECRET, label[1].encode() + SEEDS[0] + SEEDS[1], hashlib.sha256).digest()
    assert root == ROOT == EXAMPLES["datagrams: root"]
    for name, size in (("key", 32), ("id", 8)):
        prefix = re.search(rf'HMAC-SHA256\(root, "({name} )" ‖ d\)', text)
        assert prefix is not None
        for who, way in (("client", "C to S"), ("server", "S to C")):
            made = hmac.new(root, f"{prefix[1]}{who}".encode(), hashlib.sha256).digest()[:size]
            assert made == EXAMPLES[f"datagrams: {name} from {way}"]


def test_numbers_said_in_the_text():
    assert f"1/{wire.TICKS} s" in section(25)
    assert f"at least {wire.MIN_WINDOW} numbers" in section(25) and f"this server's has {wire.WINDOW}" in section(25)
    assert f"for {wire.OLD_KEYS_SECS:g} seconds" in " ".join(section(24).split())
    assert f"a challenge of {wire.WORDS_SIZE} random bytes" in section(26)
    assert f"than every {wire.CHALLENGE_EVERY_SECS} seconds" in " ".join(section(26).split())
    assert wire.UNVALIDATED_FACTOR == 3 and "no more than three times" in section(26)
    relay = section(28)
    assert f'"{wire.COOKIE_MAGIC.decode()}" ‖ {wire.COOKIE_SIZE} bytes cookie' in relay
    assert f"at least {wire.COOKIE_LEAST} bytes" in relay and f"good for {wire.COOKIE_SECS} seconds" in relay


def test_limits():
    fixed = section(29).split("Fixed by the protocol:")[1].split("Settings")[0]
    table = dict(re.findall(r"^    ([a-z][a-z ]+?)  +(.+)$", fixed, re.MULTILINE))
    numbers = {name: [float(number) for number in re.findall(r"[\d.]+", text)] for name, text in table.items()}
    assert numbers["around a body"] == [wire.SMALLEST]
    assert numbers["window"] == [wire.MIN_WINDOW]
    assert numbers["old keys"] == [wire.OLD_KEYS_SECS]
    assert numbers["challenge"] == [wire.WORDS_SIZE, wire.CHALLENGE_EVERY_SECS]
    assert numbers["not validated"] == [wire.UNVALIDATED_FACTOR]
    assert numbers["cookie"] == [wire.COOKIE_SIZE, wire.COOKIE_LEAST]


def transcript() -> list[tuple[str, bytes, bytes]]:
    """Of the datagrams: the title, the bytes, and what is in it, opened by nothing of the package's."""
    steps = []
    for title, data in EXAMPLES.items():
        if match := re.match(r"datagrams \d, (.) to ([CS]): ", title):
            if (match[2] == "S" and match[1] == "M") or (match[1] == "S" and match[2] == "M"):
                continue
            key = CLIENT.key_out if match[1] == "C" else SERVER.key_out
            steps.append((title, data, decrypt(data[16:], data[:16], bytes(4) + data[8:16], key)))
    return steps


def test_every_datagram_is_what_its_title_says():
    steps = transcript()
    assert len(steps) == 6
    for title, data, inner in steps:
        said = dict(re.findall(r"(number|time|echo) (\d+)", title))
        kind, time, echo = struct.unpack_from("<BHH", inner)
        assert Kind(kind).name.lower() == title.split(": ")[1].split(" ")[0].rstrip(",")
        assert int(said["number"]) == int.from_bytes(data[8:16], "little")
        assert (int(said["time"]), int(said.get("echo", 0))) == (time, echo)


def test_the_client_reads_them_as_the_text_says():
    """What it knows when the challenge has come: that its ping was received, and that the way takes 0.04 s."""
    link = DatagramLink()
    keyed = KeyedDatagrams(CLIENT, MTU, link)
    begin = 1000 / wire.TICKS
    assert keyed.seal(Kind.PING, b"", begin) == EXAMPLES["datagrams 1, C to S: ping, number 0, time 1000, no echo"]
    back = begin + 0.04
    down = [data for title, data, _ in transcript() if " S to C: " in title]
    pong, challenge = (keyed.open(datagram, back + 1e-6) for datagram in down[:2])
    assert pong is not None and challenge is not None and challenge.body == WORDS
    keyed.told(pong.body)
    assert link.round_trip is not None and abs(link.round_trip - 0.04) < 1e-9 and link.loss_out == 0
    response = keyed.seal(Kind.RESPONSE, WORDS, back + 1e-6)
    assert response == EXAMPLES["datagrams 4, C to S: response, number 1, time 1320, echo 50160"]
    assert open_datagram(SERVER, response).body == WORDS


def test_the_answer():
    offer = v3.decode_datagrams(EXAMPLES["record: datagrams"][v3.HEAD_SIZE :])
    assert offer == (PORT, MTU, KEEPALIVE, SEEDS[1], "")
    assert v3.decode_ask(EXAMPLES["record: ask"][v3.HEAD_SIZE :]) == SEEDS[0]
    assert not v3.decode_datagrams(EXAMPLES["record: datagrams, there are none"][v3.HEAD_SIZE :]).port
