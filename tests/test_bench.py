"""The benchmark: that it notices what goes wrong, and a very small run of it."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from kit.process import HAS_PROC

from bench import options, traffic
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


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("protocol", ["v2-ws", "open-ws"])
def test_a_very_small_run_over_websocket(tmp_path: Path, protocol: str) -> None:
    pytest.importorskip("h11", reason="the extra `web` is not installed")
    out, workloads = tmp_path / "out", ["ingest-mixed", "fanout-1k", "echo-16", "connect"]
    flags = ["--clients", "5", "--seconds", "0.3", "--voltlane", "pure", "--rivals", "none", "--out", str(out)]
    done = bench("bench", *flags, "--protocols", protocol, "--only", ",".join(workloads))
    assert done.returncode == 0, done.stdout + done.stderr


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
    chart = ElementTree.parse(out / "chart.svg")
    words = {element.text for element in chart.iter("{http://www.w3.org/2000/svg}text")}
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
