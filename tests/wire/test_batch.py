"""The loops of the data path: what `plain` does, held to the docstrings; every other form, held to `plain`."""

from __future__ import annotations

import platform
import random
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
from kit.forms import every_form, forms
from kit.frames import data, join, split
from kit.program import environment

from voltlane.wire import batch
from voltlane.wire.batch import plain, runs
from voltlane.wire.batch.views import group_views
from voltlane.wire.framing import MAX_TAGGED

MOST = 64
"""The limit of most tests here."""
SIZES = [0, 1, 3, 4, 5, 8, 9, 10, 13, 17, 60, MOST - 1, MOST, MOST + 1, 300]


# ---- the slow and obvious way


def take_frames(stream: bytes, most: int) -> list[bytes]:
    """The payloads that `retag` takes."""
    payloads = []
    while len(stream) >= 4:
        size = int.from_bytes(stream[:4], "little")
        if size > most or 4 + size > len(stream):
            break
        payloads.append(stream[4 : 4 + size])
        stream = stream[4 + size :]
    return payloads


def expected_retag(stream: bytes, client_id: int, most: int) -> tuple[bytes, int, int]:
    payloads = take_frames(stream, most)
    return join(data(client_id, payload) for payload in payloads), len(join(payloads)), len(payloads)


def expected_group(stream: bytes, most: int, wanted: int = 0) -> tuple[dict[int, bytes], int, int]:
    chunks: dict[int, bytes] = {}
    position = count = 0
    for payload in take_frames(stream, most):
        if len(payload) < 9 or payload[8] != wanted:
            break
        client_id = int.from_bytes(payload[:8], "little")
        chunks[client_id] = chunks.get(client_id, b"") + join([payload[9:]])
        position += 4 + len(payload)
        count += 1
    return chunks, position, count


def framed_by(before: bytes, stream: bytes, behind: bytes) -> tuple[bytearray, int, int]:
    """The stream somewhere in a buffer, with other bytes around it that nobody may look at."""
    return bytearray(before + stream + behind), len(before), len(before) + len(stream)


def check_retag(form: ModuleType, stream: bytes, client_id: int = 7, most: int = MOST) -> None:
    chunk, position, count = expected_retag(stream, client_id, most)
    for before, behind in ((b"", b""), (b"\x05\0\0", b"\0" * 40), (b"?" * 13, b"\x09\0\0\0")):
        buffer, start, stop = framed_by(before, stream, behind)
        untouched = bytes(buffer)
        result = form.retag(buffer, start, stop, client_id, most)
        assert result == (chunk, start + position, count)
        assert type(result[0]) is bytes and buffer == untouched
        buffer.append(0)  # nothing of ours is held on to: it can be resized


def check_group(form: ModuleType, stream: bytes, most: int = MOST, wanted: int = 0) -> None:
    chunks, position, count = expected_group(stream, most, wanted)
    for before, behind in ((b"", b""), (b"\x0d\0\0", b"\0" * 40), (b"?" * 13, b"\x09\0\0\0")):
        buffer, start, stop = framed_by(before, stream, behind)
        untouched = bytes(buffer)
        result = form.group(buffer, start, stop, most, *([wanted] if wanted else []))
        assert result == (chunks, start + position, count)
        assert list(result[0]) == list(chunks), "in the order of each client's first packet"
        assert all(type(chunk) is bytes for chunk in result[0].values()) and buffer == untouched
        buffer.append(0)


# ---- streams


def sizes(random_: random.Random) -> list[int]:
    """Runs of one size, short and long, and anything between them."""
    found: list[int] = []
    for _ in range(random_.randint(0, 6)):
        size = random_.choice(SIZES)
        run = random_.choice([1, 1, 2, 3, 4, 31, 32, 33, 64, 65, 100])
        found += [size] * run
    return found


def client_stream(random_: random.Random) -> bytes:
    return join(random_.randbytes(size) for size in sizes(random_))


def master_stream(random_: random.Random, mostly: int = 0) -> bytes:
    """Mostly data, or what has this flag; ids that repeat, flags that are none, packets shorter than their header."""
    clients = [random_.choice([0, 1, 2, 2**32, 2**64 - 1, random_.getrandbits(64)]) for _ in range(3)]
    odd = random_.random() < 0.4
    payloads = []
    for size in sizes(random_):
        head = data(random_.choice(clients), b"")[:8] + bytes((mostly,))
        if odd and random_.random() < 0.02:
            head = head[:8] + bytes([random_.choice([0, 1, 2, 3, 4, 255])])
        if size < 9:
            payloads.append(head[:size] if odd else head + bytes(size))
        else:
            payloads.append(head + random_.randbytes(size - 9))
    return join(payloads)


@every_form
@pytest.mark.parametrize("seed", range(60))
def test_random_streams(form: ModuleType, seed: int):
    random_ = random.Random(seed)
    for make, check in ((client_stream, check_retag), (master_stream, check_group)):
        stream = make(random_)
        cut = random_.randint(0, len(stream))
        for piece in (stream, stream[:cut], stream + random_.randbytes(random_.randint(1, 20))):
            check(form, piece, most=random_.choice([MOST, MOST, 8, 9, 0, 10**6]))


@every_form
@pytest.mark.parametrize("seed", range(20))
def test_packets_of_another_flag_are_sorted_like_data(form: ModuleType, seed: int):
    random_ = random.Random(seed)
    stream = master_stream(random_, 4)
    for piece in (
        stream,
        stream[: random_.randint(0, len(stream))],
        master_stream(random_),
        stream + join([data(1, b"x")]),
    ):
        check_group(form, piece, random_.choice([MOST, 9, 10**6]), 4)
        check_group(form, piece, MOST, 255)


CUT_SIZES = [0, 5, 5, 5, 5, 17, 9, 0, 0, 0, 0, 12]


@every_form
def test_retag_cut_at_every_byte(form: ModuleType):
    stream = join(bytes([65 + number]) * size for number, size in enumerate(CUT_SIZES))
    for cut in range(len(stream) + 1):
        check_retag(form, stream[:cut])


@every_form
def test_group_cut_at_every_byte(form: ModuleType):
    stream = join(data(number % 3, b"x" * size) for number, size in enumerate(CUT_SIZES))
    for cut in range(len(stream) + 1):
        check_group(form, stream[:cut])


@every_form
def test_going_on_where_it_stopped_takes_everything(form: ModuleType):
    """The caller's way: what was left is taken with what comes next."""
    random_ = random.Random(3)
    payloads = [random_.randbytes(random_.choice([0, 3, 3, 3, 20])) for _ in range(400)]
    stream, taken, kept = join(payloads), b"", bytearray()
    while stream:
        size = random_.choice([1, 2, 7, 50, 200])
        kept += stream[:size]
        stream = stream[size:]
        chunk, position, _ = form.retag(kept, 0, len(kept), 9, MOST)
        taken += chunk
        del kept[:position]
    assert not kept and split(taken) == [data(9, payload) for payload in payloads]


@every_form
@pytest.mark.parametrize("run", [1, 2, 3, 4, 31, 32, 33, 64, 65, 96, 97])
@pytest.mark.parametrize("size", [0, 1, 13, MOST - 9, MOST])
def test_runs_of_one_size(form: ModuleType, run: int, size: int):
    """A run alone, and with something behind it: another size, a part, one that is too large."""
    payloads = [bytes([number]) * size for number in range(run)]
    tagged = [data(number % 5, payload[9:] or payload) for number, payload in enumerate(payloads)]
    for behind in (b"", b"\x01", join([b"other"]), join([bytes(MOST + 1)]), b"\xff" * 30):
        check_retag(form, join(payloads) + behind)
        check_group(form, join(tagged) + behind)


@every_form
@pytest.mark.parametrize("at", [0, 1, 15, 31, 32, 49])
def test_one_that_differs_in_a_run(form: ModuleType, at: int):
    for differing in (b"", b"x" * 11, b"x" * 13, b"x" * (MOST + 1)):
        payloads = [b"y" * 12] * 50
        payloads[at] = differing
        check_retag(form, join(payloads))
        check_group(form, join(data(7, payload) for payload in payloads))
    for flag in (1, 2, 3, 200):
        tagged = [data(number, b"z" * 12) for number in range(50)]
        tagged[at] = tagged[at][:8] + bytes([flag]) + tagged[at][9:]
        check_group(form, join(tagged))


@every_form
def test_prefixes_that_repeat_though_the_sizes_do_not(form: ModuleType):
    """Payloads that look like prefixes: a run must be told by where the frames are."""
    lure = (12).to_bytes(4, "little") * 30
    check_retag(form, join([lure[:12], lure[:12], lure[:28], lure[:12]]), most=1000)
    check_retag(form, join([lure[:12]] * 3) + lure, most=1000)
    check_group(form, join([data(12, lure[:3]), data(12, lure[:19]), data(12, lure[:3])]) + lure, most=1000)


@every_form
@pytest.mark.parametrize("size", range(9))
def test_tagged_packets_shorter_than_their_header(form: ModuleType, size: int):
    check_group(form, join([bytes(size)] * 5 + [data(1, b"a")]))
    check_group(form, join([data(1, b"a")] * 4 + [bytes(size)] + [data(1, b"b")]))


@every_form
@pytest.mark.parametrize("announced", [MOST + 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_an_oversized_announcement_stops_in_front_of_it(form: ModuleType, announced: int):
    prefix = announced.to_bytes(4, "little")
    for stream in (prefix, prefix + bytes(200)):
        check_retag(form, stream)
        check_group(form, stream)
        check_retag(form, join([b"ab"] * 40) + stream)
        check_group(form, join([data(3, b"ab")] * 40) + stream)


@every_form
def test_ids_at_the_edges(form: ModuleType):
    for client_id in (0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1):
        check_retag(form, join([b"ab", b"c"] * 5), client_id)
        check_group(form, join([data(client_id, b"ab"), data(client_id ^ 1, b"cd")] * 20))


@every_form
def test_many_clients_in_one_batch(form: ModuleType):
    """More than any table starts with; ids that fall on the same slot of one."""
    for step in (1, 64, 2**32, 2**40):
        ids = [number * step % 2**64 for number in range(3000)]
        check_group(form, join(data(client_id, b"x") for client_id in ids + ids[::-1]))


@every_form
def test_nothing_to_do(form: ModuleType):
    for size in range(14):
        assert form.retag(bytearray(20), size, size, 1, MOST) == (b"", size, 0)
        assert form.group(bytearray(20), size, size, MOST) == ({}, size, 0)


def test_the_form_in_use():
    expected = plain if platform.python_implementation() == "PyPy" else forms()[-1]
    assert batch.retag in (expected.retag, runs.retag) and batch.group in (expected.group, runs.group)
    assert batch.BACKEND


CHOICE = """
import platform, sys
platform.python_implementation = lambda: sys.argv[1]
if sys.argv[2] == "not built":
    sys.modules["voltlane.wire.batch._native"] = None
from voltlane.wire import batch
forms = [name for name in ("plain", "runs", "_native") if sys.modules.get("voltlane.wire.batch." + name)]
print(batch.BACKEND, *forms, batch.retag.__module__, batch.group.__module__, sep=",")
"""


@pytest.mark.parametrize(
    ("interpreter", "native", "pure", "backend", "form"),
    [
        ("PyPy", "built", "", "plain Python", "plain"),
        ("PyPy", "built", "1", "plain Python", "plain"),
        ("CPython", "built", "", "native", "_native"),
        ("CPython", "built", "1", "pure Python", "runs"),
        ("CPython", "not built", "", "pure Python", "runs"),
        ("CPython", "not built", "1", "pure Python", "runs"),
    ],
)
def test_one_form_is_chosen_and_no_other_is_imported(interpreter: str, native: str, pure: str, backend: str, form: str):
    if form == "_native" and len(forms()) < 3:
        pytest.skip("the loops in C are not built")
    ran = subprocess.run(
        [sys.executable, "-c", CHOICE, interpreter, native],
        env=environment(VOLTLANE_PURE_PYTHON=pure),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    name = f"voltlane.wire.batch.{form}"
    assert ran.stdout == f"{backend},{form},{name},{name}\n"


# ---- large packets, in place


def check_views(payloads: list[bytes], rest: bytes, least: int = 20, most: int = 1000, before: bytes = b"") -> None:
    stream = join(payloads) + rest
    taken: dict[int, list[bytes]] = {}
    position = count = 0
    for payload in take_frames(stream, most):
        if len(payload) < max(9, least) or payload[8]:
            break
        taken.setdefault(int.from_bytes(payload[:8], "little"), []).append(join([payload[9:]]))
        position += 4 + len(payload)
        count += 1
    buffer, start, stop = framed_by(before, stream, b"\x14\0\0\0" * 20)
    untouched = bytes(buffer)
    with memoryview(buffer) as view:
        frames, end, packets = group_views(buffer, view, start, stop, least, most)
        assert {client_id: [bytes(frame) for frame in each] for client_id, each in frames.items()} == taken
        assert (end, packets) == (start + position, count)
        for each in frames.values():
            for frame in each:
                frame.release()
    assert buffer[end:] == untouched[end:] and buffer[:start] == untouched[:start]


def test_views_of_large_packets():
    large = [data(number % 2, bytes([number]) * size) for number, size in enumerate([11, 50, 12, 400, 991])]
    for before in (b"", b"?" * 7):
        check_views(large, b"", before=before)
        check_views(large, data(1, b"small"), before=before)


def test_views_cut_at_every_byte():
    stream = join([data(1, b"x" * 30), data(2, b"y" * 11), data(1, b"z" * 12)])
    for cut in range(len(stream) + 1):
        check_views([], stream[:cut])


@pytest.mark.parametrize("flag", [1, 2, 3, 255])
def test_views_stop_at_what_is_not_data(flag: int):
    other = (5).to_bytes(8, "little") + bytes([flag]) + b"w" * 40
    check_views([data(1, b"x" * 30), other, data(1, b"y" * 30)], b"")
    check_views([other], b"")


def test_views_leave_the_small_and_the_oversized():
    check_views([data(1, b"x" * 30), data(1, b"x" * 10), data(1, b"x" * 30)], b"")
    check_views([data(1, b"x" * 30)], (1001).to_bytes(4, "little") + bytes(1001))
    check_views([data(1, b"x" * 30)], (5).to_bytes(4, "little") + bytes(60))


@pytest.mark.parametrize("seed", range(30))
def test_small_large_and_others_in_turn_take_the_whole_stream(seed: int):
    """`group` and `group_views` with one limit between them leave nothing but what is neither."""
    random_ = random.Random(seed)
    payloads = [
        data(random_.randrange(3), random_.randbytes(random_.choice([0, 10, 11, 12, 50, 200]))) for _ in range(60)
    ]
    buffer = bytearray(join(payloads))
    view, position, received = memoryview(buffer), 0, {number: b"" for number in range(3)}
    while position < len(buffer):
        before = position
        chunks, position, _ = batch.group(buffer, position, len(buffer), 20)
        for client_id, chunk in chunks.items():
            received[client_id] += chunk
        frames, position, _ = group_views(buffer, view, position, len(buffer), 20, MAX_TAGGED)
        for client_id, each in frames.items():
            received[client_id] += b"".join(each)
        assert position > before
    for client_id, chunk in received.items():
        assert split(chunk) == [payload[9:] for payload in payloads if payload[0] == client_id]


# ---- by search, where hypothesis is installed

try:
    from hypothesis import given
    from hypothesis import strategies as st
except ImportError:
    pass
else:
    frame_sizes = st.lists(
        st.tuples(st.sampled_from(SIZES), st.integers(1, 70)).map(lambda pair: [pair[0]] * pair[1]), max_size=5
    ).map(lambda parts: [size for part in parts for size in part])

    @every_form
    @given(
        sizes=frame_sizes,
        fill=st.binary(min_size=1, max_size=9),
        cut=st.integers(0, 40),
        behind=st.binary(max_size=20),
        most=st.sampled_from([0, 8, 9, MOST, 10**6]),
    )
    def test_retag_by_search(form: ModuleType, sizes: list[int], fill: bytes, cut: int, behind: bytes, most: int):
        stream = join((fill * size)[:size] for size in sizes)
        check_retag(form, stream[: len(stream) - cut] + behind, most=most)

    @every_form
    @given(
        packets=st.lists(
            st.tuples(st.sampled_from(SIZES), st.integers(1, 40), st.integers(0, 3), st.sampled_from([0, 0, 0, 1, 9])),
            max_size=5,
        ),
        cut=st.integers(0, 40),
        behind=st.binary(max_size=20),
        most=st.sampled_from([8, 9, MOST, 10**6]),
    )
    def test_group_by_search(form: ModuleType, packets: list[Any], cut: int, behind: bytes, most: int):
        stream = join(
            ((number + shift) % 4).to_bytes(8, "little")[:size] + bytes([flag])[: max(0, size - 8)] + b"d" * (size - 9)
            for size, repeat, shift, flag in packets
            for number in range(repeat)
        )
        check_group(form, stream[: len(stream) - cut] + behind, most=most)
