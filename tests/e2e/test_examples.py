"""The examples run as they are."""

from __future__ import annotations

import os
import signal
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
        wait_until(lambda: text in self._said.read_text(encoding="utf-8"), repr(text))

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
