"""The benchmark: that it notices what goes wrong, and a very small run of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from kit.process import HAS_PROC
from kit.wait import wait_until

from bench import chart, machine, options, scale, servers, traffic
from bench.nchan import Answers, Nchan
from bench.rivals import nchan
from bench.websocket import Masked, WebSocket
from bench.wires import Fault, Plain, Wire, Zmtp
from voltlane.wire.batch import frame, unmask
from voltlane.wire.websocket import WHOLE_BINARY

ROOT = Path(__file__).parent.parent
SIZES = [16, 300, 40, 16, 64]
WIRES = [Wire(), Plain(), Zmtp()]


def packets_of(wire: Wire, index: int, client_id: int, cycles: int) -> list[bytes]:
    """One client's packets as they stand in the backend's stream."""
    cycle = traffic.tagged_cycle(wire, SIZES)
    stream = cycle.of(index, client_id)
    return [stream[begin:end] for begin, end in zip(cycle.starts, cycle.starts[1:])] * cycles


def check(wire: Wire, packets: list[bytes], piece: int = 1 << 20) -> tuple[dict[int, int], list[int]]:
    """Feed a ledger of clients 0 and 1 (ids 70 and 71) in pieces; packets and bytes it saw of each."""
    ledger, seen = traffic.Ledger(wire, SIZES), [0, 0]
    ledger.open(70, 0)
    ledger.open(71, 1)
    data, buffer, held = b"".join(packets), bytearray(1 << 16), 0
    for start in range(0, len(data), piece):
        part = data[start : start + piece]
        buffer[held : held + len(part)] = part
        stop = held + len(part)
        position = ledger.take(buffer, stop, seen)
        held = stop - position
        buffer[:held] = buffer[position:stop]
    assert not held
    return {account.index: account.packets for account in ledger.accounts.values()}, seen


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
class TestLedger:
    @pytest.mark.parametrize("piece", [1, 7, 100, 1 << 20])
    def test_every_packet_of_every_client_is_counted_however_the_stream_is_cut(self, wire: Wire, piece: int) -> None:
        first, second = packets_of(wire, 0, 70, 4), packets_of(wire, 1, 71, 4)
        mixed = [*first[:9], *second[:2], *first[9:10], *second[2:], *first[10:]]
        counts, seen = check(wire, mixed, piece)
        assert counts == {0: 20, 1: 20}
        assert seen == [traffic.client_cycle(wire, SIZES).bytes_of(20)] * 2

    @pytest.mark.parametrize("at", [0, 4, 5, 11])
    def test_a_lost_packet_is_noticed(self, wire: Wire, at: int) -> None:
        packets = packets_of(wire, 0, 70, 4)
        del packets[at]
        with pytest.raises(Fault):
            check(wire, packets)

    def test_a_doubled_packet_is_noticed(self, wire: Wire) -> None:
        packets = packets_of(wire, 0, 70, 2)
        packets.insert(3, packets[2])
        with pytest.raises(Fault):
            check(wire, packets)

    def test_two_packets_out_of_order_are_noticed(self, wire: Wire) -> None:
        packets = packets_of(wire, 0, 70, 2)
        packets[4], packets[5] = packets[5], packets[4]
        with pytest.raises(Fault):
            check(wire, packets)

    def test_one_wrong_byte_is_noticed(self, wire: Wire) -> None:
        packets = packets_of(wire, 0, 70, 2)
        packets[6] = packets[6][:-1] + bytes((packets[6][-1] ^ 1,))
        with pytest.raises(Fault):
            check(wire, packets)

    def test_a_packet_under_another_clients_id_is_noticed(self, wire: Wire) -> None:
        with pytest.raises(Fault):
            check(wire, packets_of(wire, 0, 71, 1))

    def test_a_packet_of_nobody_is_noticed(self, wire: Wire) -> None:
        with pytest.raises(Fault, match="no client of ours"):
            check(wire, packets_of(wire, 0, 72, 1))


def test_a_failure_instead_of_data_is_told_as_it_is() -> None:
    reason = b"Client disconnected"
    packet = (9 + len(reason)).to_bytes(4, "little") + (70).to_bytes(8, "little") + b"\x01" + reason
    with pytest.raises(Fault, match=r"flag 1 for client id 70: b'Client disconnected'"):
        check(Wire(), [packet])


class TestFollower:
    CYCLE = traffic.client_cycle(Wire(), SIZES).of(3)

    def take(self, data: bytes, piece: int) -> int:
        follower = traffic.Follower(self.CYCLE)
        for start in range(0, len(data), piece):
            part = data[start : start + piece]
            follower.take(bytearray(part) + b"what an earlier reception left", len(part))
        return follower.total

    @pytest.mark.parametrize("piece", [1, 5, 300, 1 << 20])
    def test_the_cycle_over_and_over_is_right(self, piece: int) -> None:
        assert self.take(self.CYCLE * 3, piece) == 3 * len(self.CYCLE)

    @pytest.mark.parametrize("piece", [1, 300, 1 << 20])
    def test_anything_else_is_noticed(self, piece: int) -> None:
        with pytest.raises(Fault):
            self.take(self.CYCLE + self.CYCLE[20:], piece)


def test_packets_and_bytes_of_an_endless_stream() -> None:
    cycle = traffic.client_cycle(Wire(), SIZES)
    for packets in range(13):
        size = cycle.bytes_of(packets)
        assert cycle.packets_in(size) == packets
        assert cycle.packets_in(size + 1) == packets


def test_what_a_websocket_sends_is_its_cycle_behind_masks() -> None:
    wire, sizes = WebSocket("open"), [16, 64, 200, 1024]
    cycle = traffic.client_cycle(wire, sizes)
    masked = Masked(cycle)
    for index in (0, 7, 70_000):
        chunk, used, count = unmask(masked.of(index), 0, masked.size, WHOLE_BINARY, 4096)
        assert (used, count) == (masked.size, len(sizes)) and frame(chunk, WHOLE_BINARY) == cycle.of(index)


class TestAnswers:
    GOOD = b"HTTP/1.1 201 Created\r\nServer: nginx\r\nContent-Length: 18\r\n\r\nqueued messages: 1"

    @pytest.mark.parametrize("piece", [1, 7, 13, 1 << 20])
    def test_each_is_counted_once_however_the_stream_is_cut(self, piece: int) -> None:
        answers, data = Answers(), self.GOOD * 5
        for start in range(0, len(data), piece):
            answers.take(data[start : start + piece])
        assert answers.count == 5

    @pytest.mark.parametrize("piece", [1, 7, 13, 1 << 20])
    @pytest.mark.parametrize("status", [b"202 Accepted", b"413 Request Entity Too Large", b"500 Internal Server Error"])
    def test_any_other_is_a_fault(self, status: bytes, piece: int) -> None:
        answers, data = Answers(), self.GOOD + b"HTTP/1.1 " + status + b"\r\n\r\n" + self.GOOD
        with pytest.raises(Fault, match=f"answered with b'HTTP/1.1 {status[:3].decode()} "):
            for start in range(0, len(data), piece):
                answers.take(data[start : start + piece])


def test_what_is_published_is_what_subscribers_expect() -> None:
    wire = Nchan()
    requests, messages = traffic.published_cycle(wire, SIZES), traffic.client_cycle(wire, SIZES)
    posted, expected = requests.of(0), messages.of(0)
    assert requests.count == messages.count == len(SIZES)
    for number, size in enumerate(SIZES):
        head, _, body = posted[requests.starts[number] : requests.starts[number + 1]].partition(b"\r\n\r\n")
        assert head.endswith(b"Content-Length: %d" % size)
        assert expected[messages.starts[number] : messages.starts[number + 1]] == frame(
            size.to_bytes(4, "little") + body, WHOLE_BINARY
        )


def test_what_nchan_needs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LookupError, match="nginx is not here"):
        nchan.find(str(tmp_path))
    nginx = tmp_path / "nginx"
    nginx.write_text(f"#!/bin/sh\necho 'configure arguments: --modules-path={tmp_path}/modules --with-compat' >&2\n")
    nginx.chmod(0o755)
    with pytest.raises(LookupError, match=f"without its module nchan .{tmp_path}/modules/ngx_nchan_module.so"):
        nchan.find(str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    found, notes = servers.find([], ["nchan"], None)
    assert not found
    assert "without its module nchan" in notes[0] and "apt-get install nginx libnginx-mod-nchan" in notes[0]


def test_the_processes_of_a_group_are_those_of_one_server(tmp_path: Path) -> None:
    script = "sleep 60 & echo $!; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True) as shell:
        try:
            assert shell.stdout is not None
            child = int(shell.stdout.readline())
            assert sorted(machine.group(shell.pid)) == sorted([shell.pid, child])
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


SVG = "{http://www.w3.org/2000/svg}"
LETTER = 6.3
"""How wide a letter is on the average, in the widest of the chart's fonts, measured in a browser."""


def labels_under_bars(svg: str) -> list[str]:
    """The labels of bars that reach under them, or under what is drawn first in their line."""
    elements = list(ElementTree.fromstring(svg))
    found = []
    for label, bar in zip(elements, elements[1:]):
        if label.tag == f"{SVG}text" and bar.tag == f"{SVG}rect":
            end = float(label.get("x", "")) + LETTER * len(label.text or "")
            if end > float(bar.get("x", "")):
                found.append(label.text or "")
    return found


def test_no_label_runs_under_its_bar(tmp_path: Path) -> None:
    shown = (Path(__file__).parent.parent / "docs" / "benchmark.svg").read_text(encoding="utf-8")
    assert shown.count("<rect") > 50 and labels_under_bars(shown) == []


@pytest.mark.parametrize("names", [["native"], ["Voltlane, pure Python"], ["pure Python, v3 clear, and more of it"]])
def test_the_column_of_labels_is_as_wide_as_they_are(names: list[str]) -> None:
    assert chart.label_width(names) >= LETTER * max(map(len, names))


@pytest.mark.parametrize("protocol", ["v2-ws", "open-ws"])
def test_a_very_small_run_over_websocket(tmp_path: Path, protocol: str) -> None:
    pytest.importorskip("h11", reason="the extra `web` is not installed")
    out, workloads = tmp_path / "out", ["ingest-mixed", "fanout-1k", "broadcast-1", "echo-16", "connect"]
    flags = ["--clients", "5", "--seconds", "0.3", "--voltlane", "pure", "--rivals", "none", "--out", str(out)]
    done = bench("bench", *flags, "--protocols", protocol, "--only", ",".join(workloads))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def with_nchan() -> None:
    try:
        nchan.find()
    except LookupError as error:
        pytest.skip(f"{error}: apt-get install nginx libnginx-mod-nchan")


@pytest.mark.usefixtures("with_nchan")
def test_nothing_of_nginx_is_left_behind() -> None:
    (server,), _ = servers.find([], ["nchan"], None)
    with server.running(0) as running:
        running.wait_listening(running.check)
        wait_until(lambda: len(machine.group(running.pid)) == 2, "nginx to have its worker")
    wait_until(lambda: not machine.group(running.pid), "all of nginx to be gone")


@pytest.mark.usefixtures("with_nchan")
def test_a_very_small_broadcast_beside_nchan(tmp_path: Path) -> None:
    pytest.importorskip("h11", reason="the extra `web` is not installed")
    flags = ["--clients", "5", "--seconds", "0.3", "--voltlane", "pure", "--rivals", "nchan", "--out", str(tmp_path)]
    workloads = ["fanout-64", "broadcast-1", "broadcast-64", "broadcast-1k"]
    done = bench("bench", *flags, "--protocols", "v2,open-ws", "--only", ",".join(workloads))
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [(row["workload"], row["server"]) for row in document["results"]] == [
        ("fanout-64", "pure"),
        ("fanout-64", "pure-open-ws"),
        *((workload, server) for workload in workloads[1:] for server in ("pure-open-ws", "nchan")),
    ]
    assert all(row["packets"] > 0 for row in document["results"])


def test_a_very_small_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    workloads = ["ingest-mixed", "fanout-64", "echo-16", "connect"]
    flags = ["--clients", "5", "--seconds", "0.3", "--voltlane", "pure", "--rivals", "asyncio", "--out", str(out)]
    done = bench("bench", *flags, "--protocols", "v2", "--only", ",".join(workloads))
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [(row["workload"], row["server"]) for row in document["results"]] == [
        (workload, server) for workload in workloads for server in ("pure", "asyncio")
    ]
    for row in document["results"]:
        assert "fault" not in row
        assert row["clients"] == 5
        assert row["packets"] > 0
    assert [server["key"] for server in document["servers"]] == ["pure", "asyncio"]
    drawn = (out / "chart.svg").read_text(encoding="utf-8")
    assert labels_under_bars(drawn) == []
    words = {element.text for element in ElementTree.fromstring(drawn).iter(f"{SVG}text")}
    assert {"asyncio streams", "clients → backend, 16–112 B", "connect, handshake, close"} <= words


def test_clients_of_version_3_under_both_suites(tmp_path: Path) -> None:
    flags = ["--clients", "5", "--seconds", "0.3", "--voltlane", "pure", "--rivals", "asyncio", "--out", str(tmp_path)]
    workloads = ["ingest-16k", "fanout-mixed", "echo-1", "connect", "resume", "idle"]
    done = bench("bench", *flags, "--protocols", "v3,v3-clear", "--only", ",".join(workloads))
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    servers = ["pure-v3", "pure-v3-clear"]
    expected = [(name, key) for name in workloads for key in [*servers, *["asyncio"] * (name != "resume")]]
    assert [(row["workload"], row["server"]) for row in document["results"]] == expected
    assert not any("fault" in row for row in document["results"])
    assert all(row["packets"] > 0 for row in document["results"] if row["workload"] != "idle")


def test_what_version_3_costs_beside_version_2() -> None:
    flags = ["--pure", "--rounds", "1", "--seconds", "0.1", "--clients", "3", "--only", "echo-1,resume"]
    done = bench("bench.protocols", *flags, "--protocols", "v2,v3,v3-clear")
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout.split("medians.")[1].splitlines()
    assert table[2].split() == ["v2", "v3", "v3-clear"]
    assert table[4].startswith("echo, 1 under way per client")
    assert table[4].count("(") == 3


COSTS = scale.Costs("v3", resident=2048, kernel=4096, trip=50e-6, opening=300e-6, resuming=200e-6)


def test_what_so_many_clients_take_follows_from_what_one_does() -> None:
    need = scale.need(COSTS, scale.Load(clients=1_000_000, trips=0.1, stay=1000.0, node=50_000))
    assert (need.resident, need.kernel) == (2048e6, 4096e6)
    assert (round(need.traffic, 6), round(need.arrivals, 6)) == (5.0, 0.3)
    assert need.nodes == 20, "as many as have room, since 5.3 cores are less than half of those"
    assert round(need.storm, 6) == 10.0
    assert scale.need(COSTS, scale.Load(1_000_000, 1.0, 1000.0, 50_000)).nodes == 101, "as many as have the time"


def test_what_the_kernel_needs_is_what_grew_by_as_many_as_there_are_connections() -> None:
    before = {"TCP": (10, 2368), "filp": (500, 192), "dentry": (9000, 192), "gone": (1, 8)}
    after = {"TCP": (2010, 2368), "filp": (2480, 192), "dentry": (9100, 192), "new": (5000, 8)}
    assert machine.kernel_bytes(before, after, 1000) == 2000 * 2368 + 1980 * 192


@pytest.mark.skipif(not HAS_PROC, reason="the system has no /proc")
def test_what_a_client_costs_is_measured(tmp_path: Path) -> None:
    flags = ["--pure", "--measured", "20", "--rounds", "1", "--seconds", "0.2", "--rate", "200"]
    done = bench("bench.scale", *flags, "--protocols", "v3", "--json", str(tmp_path / "costs.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1,000,000 clients, each with 0.1 packets a second up and down" in done.stdout
    (costs,) = json.loads((tmp_path / "costs.json").read_text())["costs"]
    assert costs["protocol"] == "v3" and costs["trip"] > 0 and costs["opening"] > 0 and costs["resuming"] > 0


@pytest.mark.skipif(not HAS_PROC, reason="the system has no /proc")
def test_a_small_upgrade() -> None:
    done = bench("bench.upgrade", "--clients", "80", "--times", "1", "--rate", "200")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "each once and in order; no connection was cut" in done.stdout
    done = bench("bench.upgrade", "--kinds", "v2,v4")
    assert done.returncode == 2 and "'v4' is none of v2, v3, v2-ws, v3-ws" in done.stderr


def test_a_setting_of_the_server_may_be_another(tmp_path: Path) -> None:
    flags = ["--clients", "2", "--seconds", "0.1", "--voltlane", "pure", "--rivals", "none", "--out", str(tmp_path)]
    done = bench("bench", *flags, "--only", "fanout-64", "--set", "socket.unsent_bytes=0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", socket.unsent_bytes=0\n" in done.stdout
    done = bench("bench", *flags, "--only", "fanout-64", "--set", "socket.unsent_bytes=few")
    assert done.returncode == 1
    assert "socket.unsent_bytes: 'few' was given" in done.stdout


def test_a_wrong_name_is_told_with_those_there_are() -> None:
    done = bench("bench", "--only", "ingest-65")
    assert done.returncode == 2
    assert "'ingest-65' is none of ingest-64, " in done.stderr


@pytest.mark.parametrize("number", ["0", "nan", "1e3", "1_0", "-1", "few"])
def test_a_number_that_is_none_is_told(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options.parser("bench", "", (), 1.0).parse_args([f"--seconds={number}"])
    assert f"'{number}' was given, a number, at least" in capsys.readouterr().err
