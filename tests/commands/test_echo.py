from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from kit.program import Program

from voltlane.wire.tagged import Flag, frame_tagged


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sends_data_back_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with Program("echo", "--listen", "127.0.0.1:0", cwd=tmp_path) as program:
        port = int(program.wait_err(r"connection servers connect to 127\.0\.0\.1:(\d+)")[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10.0) as server:
            program.wait_err(rf"127\.0\.0\.1:{server.getsockname()[1]} is connected")
            sent = frame_tagged(7, Flag.DATA, b"seven") + frame_tagged(2**64 - 1, Flag.DATA)
            silent = frame_tagged(8, Flag.FAILURE, b"gone") + frame_tagged(9, Flag.RECONNECTION)
            server.sendall(silent + sent)
            with server.makefile("rb") as stream:
                assert stream.read(len(sent)) == sent
        program.wait_err("is gone")
        program.signal(number)
        assert program.finish() == 0
    assert program.out == b""
    assert "Traceback" not in program.err


def test_address_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Program("echo", "--listen", address, cwd=tmp_path) as program:
            assert program.finish() == 3
    assert f"cannot listen on {address}: Address already in use" in program.err
