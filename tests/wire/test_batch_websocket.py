"""The loops for WebSocket's frames: every form, held to the slow and obvious way."""

from __future__ import annotations

import random
from types import ModuleType

import pytest
from kit.forms import every_form
from kit.frames import data, join
from kit.websocket_speaker import BINARY, CLOSE, CONTINUATION, PING, TEXT, client_frame, server_frame, xor

from voltlane.wire import batch
from voltlane.wire.websocket import WHOLE_BINARY, WHOLE_TEXT

SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 31, 32, 33, 60, 63, 64, 65, 124, 125, 126, 127, 128, 300, 1023, 1024, 1030, 3000]
RUNS = [1, 1, 2, 3, 4, 7, 8, 9, 31, 33, 127, 128, 129, 300]
KEYS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\x01\0\0\0"]


def check(form: ModuleType, payloads: list[bytes], stream: bytes, behind: bytes, most: int = 10**6, kind: int = BINARY):
    """`stream` holds these messages, and `behind` begins with something that has to be left."""
    first, client_id, count = 0x80 | kind, 2**64 - 7, len(payloads)
    for before, after in ((b"", b""), (b"\x82\x81", b"\0" * 400), (b"?" * 13, b"\x82\x80\1\2\3\4")):
        buffer = bytearray(before + stream + behind + after)
        start, stop = len(before), len(before) + len(stream) + len(behind)
        end, untouched = start + len(stream), bytes(buffer)
        found = form.unmask(buffer, start, stop, first, most)
        assert found == (join(payloads), end, count) and type(found[0]) is bytes
        if kind == BINARY:
            tagged = form.retag_masked(buffer, start, stop, client_id, most)
            assert tagged == (join(data(client_id, payload) for payload in payloads), end, count)
            assert tagged[0] == form.retag(found[0], 0, len(found[0]), client_id, most)[0]
        assert form.unmask(untouched, start, stop, first, most) == found, "of bytes as well"
        assert buffer == untouched
        buffer.append(0)  # nothing of ours is held on to: it can be resized


def wire(payloads: list[bytes], random_: random.Random, kind: int = BINARY) -> bytes:
    return b"".join(
        client_frame(kind, payload, random_.choice([*KEYS, *(random_.randbytes(4) for _ in range(9))]))
        for payload in payloads
    )


def some(random_: random.Random) -> list[bytes]:
    return [
        random_.randbytes(size)
        for _ in range(random_.randint(0, 4))
        for size in [random_.choice(SIZES)] * random_.choice(RUNS)
    ]


@every_form
@pytest.mark.parametrize("seed", range(40))
def test_random_messages(form: ModuleType, seed: int):
    random_ = random.Random(seed)
    payloads, kind = some(random_), random_.choice([BINARY, BINARY, TEXT])
    next_one = wire([random_.randbytes(random_.choice(SIZES))], random_)
    check(form, payloads, wire(payloads, random_, kind), next_one[: random_.randrange(len(next_one))], kind=kind)


@every_form
@pytest.mark.parametrize("run", [1, 2, 3, 4, 8, 127, 128, 129, 257])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 6, 63, 64, 65, 125, 126, 127])
def test_runs_of_one_size(form: ModuleType, run: int, size: int):
    """Each with a key of its own; alone, and with something behind it."""
    random_ = random.Random(run * 1000 + size)
    payloads = [random_.randbytes(size) for _ in range(run)]
    stream = wire(payloads, random_)
    for behind in (b"", b"\x82", b"\x82\x80\0\0\0", client_frame(PING, b"x"), b"\xff" * 30):
        check(form, payloads, stream, behind)


@every_form
def test_cut_at_every_byte(form: ModuleType):
    random_ = random.Random(5)
    payloads = [random_.randbytes(size) for size in [0, 5, 5, 5, 5, 130, 126, 126, 126, 3, 0, 0, 0, 0, 12]]
    frames = [wire([payload], random_) for payload in payloads]
    ends = [sum(map(len, frames[:count])) for count in range(len(frames) + 1)]
    stream = b"".join(frames)
    for cut in range(len(stream) + 1):
        whole = max(count for count, end in enumerate(ends) if end <= cut)
        check(form, payloads[:whole], stream[: ends[whole]], stream[ends[whole] : cut])


NOT_SIMPLE = {
    "text": client_frame(TEXT, b"text"),
    "a first part": client_frame(BINARY, b"part", fin=False),
    "another part": client_frame(CONTINUATION, b"part"),
    "ping": client_frame(PING, b"ping"),
    "close": client_frame(CLOSE),
    "reserved": client_frame(BINARY, b"bits", reserved=1),
    "unknown": client_frame(3, b"opcode"),
    "no mask": server_frame(BINARY, b"x" * 20),
    "no mask, medium": server_frame(BINARY, b"x" * 200),
    "16 bits too many": client_frame(BINARY, b"x" * 125, form=2),
    "64 bits too many": client_frame(BINARY, b"x" * 125, form=8),
    "64 bits": client_frame(BINARY, b"x" * 65536),
}


@every_form
@pytest.mark.parametrize("name", NOT_SIMPLE)
@pytest.mark.parametrize("before", [0, 1, 5, 140])
def test_it_stops_in_front_of_what_is_not_simple(form: ModuleType, name: str, before: int):
    random_ = random.Random(before)
    payloads = [random_.randbytes(4) for _ in range(before)]
    check(form, payloads, wire(payloads, random_), NOT_SIMPLE[name] + wire([b"more"] * 5, random_))


@every_form
@pytest.mark.parametrize(("most", "size"), [(0, 1), (9, 10), (124, 125), (125, 126), (1000, 1001), (65534, 65535)])
def test_it_stops_in_front_of_what_is_too_large(form: ModuleType, most: int, size: int):
    random_ = random.Random(size)
    payloads = [random_.randbytes(most) for _ in range(5)]
    stream, larger = wire(payloads, random_), wire([bytes(size)], random_)
    check(form, payloads, stream, larger + stream, most)
    check(form, payloads, stream, larger[:8], most)


@every_form
def test_a_run_is_told_by_where_the_frames_are(form: ModuleType):
    """Payloads that look like heads where the next one's would be."""
    lure = b"\x82\x88" * 4
    payloads = [lure, lure, lure, lure * 3, lure, b"\x82\x84ab", lure]
    check(form, payloads, b"".join(client_frame(BINARY, payload, bytes(4)) for payload in payloads), b"")


@every_form
def test_nothing_to_do(form: ModuleType):
    for size in range(9):
        assert form.unmask(bytearray(20), size, size, WHOLE_BINARY, 64) == (b"", size, 0)
        assert form.retag_masked(bytearray(20), size, size, 1, 64) == (b"", size, 0)
    assert form.frame(b"", WHOLE_BINARY) == b""


# ---- masks


@every_form
@pytest.mark.parametrize("size", [*SIZES, 65535, 65536, 65537, 200_001])
def test_a_mask(form: ModuleType, size: int):
    random_ = random.Random(size)
    for key in (*KEYS, random_.randbytes(4)):
        payload = random_.randbytes(size)
        assert form.mask(payload, key) == xor(payload, key)
        assert form.mask(bytearray(payload), key) == form.mask(memoryview(payload), key) == xor(payload, key)


# ---- downwards


def check_frame(form: ModuleType, payloads: list[bytes]):
    chunk = join(payloads)
    for first, kind in ((WHOLE_BINARY, BINARY), (WHOLE_TEXT, TEXT)):
        frames = b"".join(server_frame(kind, payload) for payload in payloads)
        for each in (chunk, bytearray(chunk), memoryview(chunk)):
            found = form.frame(each, first)
            assert found == frames and type(found) is bytes


@every_form
@pytest.mark.parametrize("seed", range(20))
def test_random_chunks(form: ModuleType, seed: int):
    check_frame(form, some(random.Random(seed)))


@every_form
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 4096, 4097, 65535, 65536, 70_000])
def test_chunks_of_one_size(form: ModuleType, size: int):
    for run in (1, 2, 3, 32, 33, 65) if size < 4096 else (1, 2, 3):
        payloads = [bytes([number]) * size for number in range(run)]
        check_frame(form, payloads)
        check_frame(form, [*payloads, b"other"])
        check_frame(form, [b"other", *payloads, b""])


def test_the_form_in_use_has_all_of_them():
    assert len({getattr(batch, name).__module__ for name in batch.__all__ if name != "BACKEND"}) == 1


# ---- by search, where hypothesis is installed

try:
    from hypothesis import given
    from hypothesis import strategies as st
except ImportError:
    pass
else:
    runs_of_payloads = st.lists(
        st.tuples(st.sampled_from(SIZES[:-4]), st.sampled_from(RUNS[:-1]), st.binary(min_size=1, max_size=9)),
        max_size=4,
    ).map(lambda parts: [(fill * size)[:size] for size, repeat, fill in parts for _ in range(repeat)])

    @every_form
    @given(
        payloads=runs_of_payloads,
        keys=st.lists(st.binary(min_size=4, max_size=4), min_size=1, max_size=5),
        behind=st.sampled_from([b"", b"\x82", b"\x82\xfe\0", b"\x82\xfe\0\x10abcd", *NOT_SIMPLE.values()]),
    )
    def test_by_search(form: ModuleType, payloads: list[bytes], keys: list[bytes], behind: bytes):
        stream = b"".join(
            client_frame(BINARY, payload, keys[number % len(keys)]) for number, payload in enumerate(payloads)
        )
        check(form, payloads, stream, behind)
        check_frame(form, payloads)
