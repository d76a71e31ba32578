"""The examples of part three of SPEC.txt, computed: datagrams beside the first connection of part two's."""

from __future__ import annotations

import struct

from kit.examples import EXAMPLES as PART_TWO
from kit.examples import counting

from voltlane.wire.datagram import DatagramKeys, Kind, client_keys, derive, seal_datagram, server_keys, with_cookie
from voltlane.wire.tagged import frame_tagged
from voltlane.wire.v3 import NO_DATAGRAMS, DatagramsOffer, record
from voltlane.wire.v3 import Kind as Records

DATAGRAM = 4
SECRET = PART_TWO["secret: generation 1, that branch"]
SEEDS = counting(0x00), counting(0x20)
ROOT = derive(SECRET, *SEEDS)
CLIENT, SERVER = client_keys(ROOT), server_keys(ROOT)
COOKIE = counting(0xD0, 16)
WORDS = counting(0xA0, 8)
PORT, MTU, KEEPALIVE = 42000, 1200, 15


def _datagram(keys: DatagramKeys, title: str, kind: int, number: int, time: int, echo: int, body: bytes) -> None:
    EXAMPLES[title] = seal_datagram(keys, number, kind, time, echo, body)


EXAMPLES: dict[str, bytes] = {
    'tagged: datagram "here" of client 1': frame_tagged(1, DATAGRAM, b"here"),
    "relay, S to C: a cookie": with_cookie(COOKIE),
    'relay, C to S: the packet "hello" behind it': with_cookie(COOKIE, b"hello"),
    "record: ask": record(Records.ASK, 0, 0, SEEDS[0]),
    "record: datagrams": record(Records.DATAGRAMS, 0, 0, DatagramsOffer(PORT, MTU, KEEPALIVE, SEEDS[1], "").encode()),
    "record: datagrams, there are none": record(Records.DATAGRAMS, 0, 0, NO_DATAGRAMS),
    "datagrams: root": ROOT,
    "datagrams: key from C to S": CLIENT.key_out,
    "datagrams: id from C to S": CLIENT.id_out,
    "datagrams: key from S to C": CLIENT.key_in,
    "datagrams: id from S to C": CLIENT.id_in,
}
_COUNTS = struct.pack("<QQ", 1, 1)
for _keys, _title, *_rest in (
    (CLIENT, "1, C to S: ping, number 0, time 1000, no echo", Kind.PING, 0, 1000, 0, b""),
    (
        SERVER,
        "2, S to C: pong, number 0, time 50160, echo 1000, above 1, received 1",
        Kind.PONG,
        0,
        50160,
        1000,
        _COUNTS,
    ),
    (SERVER, "3, S to C: challenge a0 to a7, number 1, time 50160, echo 1000", Kind.CHALLENGE, 1, 50160, 1000, WORDS),
    (CLIENT, "4, C to S: response, number 1, time 1320, echo 50160", Kind.RESPONSE, 1, 1320, 50160, WORDS),
    (CLIENT, '5, C to S: data "here", number 2, time 1400, echo 50240', Kind.DATA, 2, 1400, 50240, b"here"),
    (SERVER, '8, S to C: data "there", number 2, time 50600, echo 1440', Kind.DATA, 2, 50600, 1440, b"there"),
):
    _datagram(_keys, f"datagrams {_title}", *_rest)
EXAMPLES['datagrams 6, S to M: datagram "here" of client 1'] = frame_tagged(1, DATAGRAM, b"here")
EXAMPLES['datagrams 7, M to S: datagram "there" for client 1'] = frame_tagged(1, DATAGRAM, b"there")
