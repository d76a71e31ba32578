"""The framing of WebSocket against wsproto: the same messages, pongs, closes and refusals for the same bytes."""

from __future__ import annotations

import random

import pytest
from kit.websocket_speaker import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame

pytest.importorskip("wsproto", reason="wsproto, the oracle, is not installed (extra `test`)")

from kit.websocket_oracle import compare, ours

TEXTS = ["", "plain", "grün", "日本語", "🚀"]
ODD = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f"]


def payload(random_: random.Random, text: bool) -> bytes:
    if text:
        return "".join(random_.choices(TEXTS, k=random_.randint(0, 9))).encode()
    return random_.randbytes(random_.choice([0, 1, 3, 20, 125, 126, 127, 400]))


def message(random_: random.Random) -> list[bytes]:
    """The frames of one, cut anywhere, with control frames between them."""
    text = random_.random() < 0.5
    data = payload(random_, text)
    if text and random_.random() < 0.1:
        at = random_.randint(0, len(data))
        data = data[:at] + random_.choice(ODD) + data[at:]
    cuts = sorted(random_.randint(0, len(data)) for _ in range(random_.choice([0, 0, 0, 1, 2, 4])))
    bounds = [0, *cuts, len(data)]
    frames = []
    for number, (begin, end) in enumerate(zip(bounds, bounds[1:])):
        opcode = CONTINUATION if number else TEXT if text else BINARY
        frames.append(client_frame(opcode, data[begin:end], random_.randbytes(4), fin=number == len(cuts)))
        if random_.random() < 0.2:
            frames.append(client_frame(random_.choice([PING, PONG]), random_.randbytes(random_.choice([0, 4, 125]))))
    return frames


def close(random_: random.Random) -> bytes:
    code = random_.choice([1000, 1001, 1003, 1011, 1012, 3000, 3999, 4000, 4999, random_.randrange(1 << 16)])
    said = code.to_bytes(2, "big") + payload(random_, True)[:100]
    return client_frame(CLOSE, random_.choice([b"", said, said[:2], said[:1], said + b"\xff"]))


def odd(random_: random.Random) -> bytes:
    """A frame, right or not, of any kind."""
    form = random_.choice([0, 0, 0, 2, 8])
    size = random_.choice([0, 1, 125, 126, 127, 200]) if form != 0 else random_.choice([0, 1, 5, 125, 126])
    return client_frame(
        random_.choice([0, 1, 2, 8, 9, 10, random_.randrange(16)]),
        random_.randbytes(size),
        fin=random_.random() < 0.7,
        reserved=random_.choice([0] * 9 + [1, 2, 4, 7]),
        masked=random_.random() < 0.9,
        form=form,
    )


def stream(random_: random.Random) -> bytes:
    frames = [frame for _ in range(random_.randint(0, 8)) for frame in message(random_)]
    for make, chance in ((odd, 0.5), (close, 0.3)):
        if random_.random() < chance:
            frames.insert(random_.randint(0, len(frames)), make(random_))
    data = bytearray(b"".join(frames))
    if data and random_.random() < 0.3:
        data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
    if random_.random() < 0.3:
        del data[random_.randint(0, len(data)) :]
    return bytes(data)


@pytest.mark.parametrize("block", range(8))
def test_the_same_for_random_streams(block: int):
    random_ = random.Random(block)
    for _ in range(400):
        compare(stream(random_))


def test_the_streams_are_of_every_kind():
    """Else the comparison would show nothing."""
    random_ = random.Random(0)
    outcomes = [ours(stream(random_)) for _ in range(400)]
    assert {0, 1002, 1007} <= {each.mistake for each in outcomes}
    assert any(each.close > 3000 for each in outcomes) and any(each.close == 1005 for each in outcomes)
    assert sum(len(each.messages) > 3 for each in outcomes) > 50 and any(len(each.pongs) > 1 for each in outcomes)


@pytest.mark.parametrize("code", [*range(995, 1020), 1999, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65535])
def test_the_same_codes_may_be_said(code: int):
    compare(client_frame(CLOSE, code.to_bytes(2, "big")))
