"""Files of unix sockets, sockets that others have as well, and what stands where a file belongs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from kit.process import Process, ServerProcess, environment, usual
from kit.raw_client import RawClient
from kit.raw_master import RawMaster

from voltlane.address import parse_address
from voltlane.commands.inquiry import Inquiry

TIMEOUT = 30


def is_served(address: str, master: RawMaster) -> None:
    with RawClient.new(address) as client:
        client.send(b"hello")
        assert master.recv_data(client.client_id, 1) == [b"hello"]


def test_a_server_that_ends_leaves_its_successors_files(tmp_path: Path) -> None:
    door, admin = tmp_path / "door", tmp_path / "admin"
    settings = {"listener.address": f"unix:{door}", "admin.address": f"unix:{admin}"}
    with RawMaster() as first_master, RawMaster() as master, ServerProcess(first_master.address, settings) as first:
        first_master.accept()
        first.wait_for_log("clients connect to ")
        door.unlink()
        admin.unlink()
        with ServerProcess(master.address, settings) as second:
            master.accept()
            second.wait_for_log("clients connect to ")
            first_master.close()
            assert first.stop() == 0
            is_served(f"unix:{door}", master)
            inquiry = Inquiry(parse_address(f"unix:{admin}"), "")
            assert inquiry.get("/stats", dict)["state"] == "ready"
            inquiry.close()
            master.close()
            assert second.stop() == 0
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_fails_leaves_no_file(tmp_path: Path) -> None:
    door = tmp_path / "door"
    for settings in (
        {"listener.address": f"unix:{door}", "admin.address": f"unix:{tmp_path}/no/such/directory"},
        {"listener.address": f"unix:{door}", "socket.ttl": 1, "general.state_dir": f"{tmp_path}/full"},
    ):
        full = Path(str(settings.get("general.state_dir", "")))
        environ = environment(usual("127.0.0.1:1", settings))
        code = "from voltlane.cli import main\nimport sys\n"
        if full.name == "full":  # the disk is, when the journal is to be written
            code += "from voltlane.store import journal\n"
            code += "def begin(*_): raise OSError(28, 'No space left on device')\njournal.Journal.begin = begin\n"
        with Process(["-c", code + "sys.exit(main(['serve']))"], environ) as server:
            assert server.wait() in (2, 3)
            assert "Traceback" not in server.log
        assert not door.exists(), server


# ---- sockets that were passed, and that others have as well

PASSED = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "voltlane", "serve"])
"""


def passed(sock: socket.socket, master: RawMaster, settings: dict[str, object]) -> Process:
    return Process(["-c", PASSED, str(sock.fileno())], environment(usual(master.address, settings)), [sock.fileno()])


def test_one_that_was_shut_down_elsewhere_is_no_work(tmp_path: Path) -> None:
    admin = f"unix:{tmp_path}/admin"
    with socket.create_server(("127.0.0.1", 0)) as shared, RawMaster() as master:
        host, port = shared.getsockname()
        with passed(shared, master, {"admin.address": admin}) as server, RawClient.new(f"{host}:{port}") as client:
            shared.shutdown(socket.SHUT_RDWR)
            said = f"cannot accept connections at {host}:{port}: Invalid argument; trying again in "
            server.wait_for_log(said + "2.0 s")
            assert server.log.count(said) == 6
            inquiry = Inquiry(parse_address(admin), "")
            figures = inquiry.get("/stats", dict)
            inquiry.close()
            assert 6 <= figures["reasons"]["held"]["accepting fails"] < 20
            master.accept()
            client.send(b"still here")
            assert master.recv_data(client.client_id, 1) == [b"still here"]
            master.close()
            assert server.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_an_abstract_name_is_shown_with_an_at(tmp_path: Path) -> None:
    name = f"voltlane-test-{os.getpid()}"
    admin = f"unix:{tmp_path}/admin"
    with socket.socket(socket.AF_UNIX) as shared, RawMaster() as master:
        shared.bind(b"\0" + name.encode())
        shared.listen()
        with passed(shared, master, {"admin.address": admin, "general.log_format": "json"}) as server:
            master.accept()
            server.wait_for_log(f'"clients connect to unix:@{name}"')
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(b"\0" + name.encode())
                server.process.send_signal(signal.SIGUSR1)
                server.wait_for_log("state: not accepting: ")
            assert "\0" not in server.log and "\\u0000" not in server.log and "x00" not in server.log
            master.close()
            assert server.stop() == 0


# ---- where a file belongs


@pytest.mark.parametrize("what", ["fifo", "directory"])
@pytest.mark.parametrize(
    "file", ["connserver.toml", "state/server.key", "state/sessions.journal", "state/backlogs", "state/lock", "state"]
)
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, file: str, what: str) -> None:
    if (file, what) == ("state", "directory"):
        pytest.skip("it is to be one")
    command = [sys.executable, "-m", "voltlane", "serve", "--listen", "127.0.0.1:0"]
    environ = environment({"general.state_dir": "state"})
    path = tmp_path / file
    if file in ("state/sessions.journal", "state/backlogs"):  # which come after a key
        settings = usual("127.0.0.1:1", {"general.state_dir": str(tmp_path / "state")})
        with Process(["-m", "voltlane", "serve"], environment(settings)) as server:
            server.wait_for_log("trying again")
            assert server.stop() == 0
        path.unlink(missing_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if what == "fifo":
        os.mkfifo(path, 0o600)
    else:
        path.mkdir(0o700)
    ran = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=TIMEOUT)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith("voltlane: ") and file in ran.stderr.splitlines()[-1]
    assert "cannot be " in ran.stderr and "Traceback" not in ran.stderr


def test_a_reload_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    with RawMaster() as master:
        file = tmp_path / "voltlane.toml"
        file.write_text("")
        environ = environment(usual(master.address, {"listener.address": f"unix:{tmp_path}/door"}))
        with Process(["-m", "voltlane", "serve", "--config", str(file)], environ) as server:
            master.accept()
            file.unlink()
            os.mkfifo(file)
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_log("the settings stay as they are: ")
            assert f"{file}: cannot be read: it is a pipe" in server.log
            is_served(f"unix:{tmp_path}/door", master)
            master.close()
            assert server.stop() == 0


# ---- examples


@pytest.mark.parametrize("name", ["echo_backend.py", "chat_backend.py"])
@pytest.mark.parametrize("address", ["taken", "nowhere"])
def test_an_example_whose_address_is_of_no_use_says_so(name: str, address: str) -> None:
    example = Path(__file__).parents[2] / "examples" / name
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}" if address == "taken" else address
        command = [sys.executable, str(example), where]
        ran = subprocess.run(command, env=environment({}), capture_output=True, text=True, timeout=TIMEOUT)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr and where in ran.stderr and ran.stderr.count("\n") == 1
