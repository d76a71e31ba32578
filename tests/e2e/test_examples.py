"""The examples run as they are."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from kit.process import ServerProcess
from kit.wait import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"


class Started:
    """An example that is running, and can be typed to."""

    def __init__(self, path: Path, name: str, *arguments: str) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("VOLTLANE_")}
        self._said = path / "-".join([name, *arguments]).replace("/", "-")
        with open(self._said, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(EXAMPLES / name), *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
            )
        assert self.process.stdin is not None
        self.input = self.process.stdin

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.said, repr(text))

    @property
    def said(self) -> str:
        return self._said.read_text(encoding="utf-8")

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.input.close()


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("VOLTLANE_")}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_each_says_what_it_is(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0 and "usage:" in done.stdout and not done.stderr


@pytest.mark.parametrize("end", ["end of input", "Ctrl-C"])
def test_who_leaves_the_chat_has_gone_at_once(tmp_path: Path, end: str) -> None:
    hose = f"unix:{tmp_path}/master"
    with ExitStack() as stack:
        server = stack.enter_context(ServerProcess(hose))
        stack.enter_context(Started(tmp_path, "chat_backend.py", hose))
        ada = stack.enter_context(Started(tmp_path, "chat_client.py", server.address, "--name", "Ada"))
        ada.wait_for("* Ada has come")
        eve = stack.enter_context(Started(tmp_path, "chat_client.py", server.address, "--name", "Eve"))
        ada.wait_for("* Eve has come")  # by then it waits for somebody to type
        if end == "Ctrl-C":
            ada.process.send_signal(signal.SIGINT)
        else:
            ada.input.close()
        eve.wait_for("* Ada has gone (Client disconnected)")


def test_the_resume_demo_loses_nothing() -> None:
    """It starts a server and a backend itself, cuts the connection, and ends with 1 if anything is missing."""
    done = run("resume_demo.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_relay_passes_on_what_came_once_and_tells_how_the_links_are(tmp_path: Path) -> None:
    with ExitStack() as stack:
        relay = stack.enter_context(Started(tmp_path, "relay.py", "127.0.0.1:0", "--every", "0.2"))
        relay.wait_for("peers send to")
        port = int(relay.said.split(":")[1])
        ada, eve, mute = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)]
        for peer in (ada, eve, mute):
            peer.settimeout(20)
            peer.connect(("127.0.0.1", port))
        mute.send(b"short")  # and so nobody

        def send(peer: socket.socket, number: int, data: bytes) -> None:
            peer.send(struct.pack("!II", number, 20 * number % 2**32) + data)

        send(ada, 2**32 - 2, b"hello")
        relay.wait_for("{} {} score".format(*ada.getsockname()))  # it is a peer by then
        send(eve, 0, b"who is there?")
        assert ada.recv(100)[8:] == b"who is there?"
        for number in (2**32 - 1, 1, 1, 2, 0):  # round the end; one of them twice, and one late
            send(ada, number, b"%d" % number)
        assert [eve.recv(100)[8:] for _ in range(4)] == [b"4294967295", b"1", b"2", b"0"]
        send(ada, 7, b"7")
        assert eve.recv(100)[8:] == b"7"
        relay.wait_for("loss=400 reordered=166 jitter=")  # of ten came six
        send(ada, 8, bytes(70))  # four times what came from there, all in all
        send(ada, 9, b"9")
        assert eve.recv(100)[8:] == b"9"
        assert str(mute.getsockname()[1]) not in relay.said
