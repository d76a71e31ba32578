"""Node, for the client in JavaScript (clients/js): where it is, and the bridge between WebSocket and a TCP listener."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CLIENT = Path(__file__).resolve().parents[2] / "clients" / "js"
MODULES = CLIENT / "node_modules"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(not NODE, reason="there is no node")
needs_modules = pytest.mark.skipif(
    not (NODE and (MODULES / "ws").is_dir() and (MODULES / "esbuild").is_dir()),
    reason="there is no node, or `make test-js` has not installed what the client's tests need",
)


def run(*arguments: str) -> str:
    """What a program of Node's says, which must end well."""
    assert NODE
    done = subprocess.run([NODE, *arguments], cwd=CLIENT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Bridge:
    """clients/js/test/bridge.js: `url` is that of a WebSocket which leads to the port."""

    def __init__(self, port: int) -> None:
        assert NODE
        self._process = subprocess.Popen(
            [NODE, str(CLIENT / "test" / "bridge.js"), str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self._answer()
        assert self.url.startswith("ws://")

    def cut(self) -> None:
        """End every connection there is."""
        self._do("cut")

    def freeze(self) -> None:
        """Nothing passes any more on the connections there are."""
        self._do("freeze")

    def _do(self, command: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        assert self._answer() == command

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def __enter__(self) -> Bridge:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
