"""The command line as a process of its own: type to it, wait for what it says, signal it, see how it ends.

with Program("connect", address, cwd=tmp_path) as program:
    program.type(b"hello\\n")
    program.wait_out(b"hello\\n")
    program.end_input()
    assert program.finish() == 0
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from kit.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would configure Voltlane or give the size of a terminal (pytest-xdist sets that)."""
    ours = os.environ.items()
    clean = {name: value for name, value in ours if not name.startswith(("VOLTLANE_", "COLUMNS", "LINES"))}
    return {**clean, "PYTHONPATH": str(ROOT), **more}


class Program:
    """A running `python -m voltlane …`. Its output is collected as it comes."""

    def __init__(
        self, *arguments: str, cwd: Path, environ: dict[str, str] | None = None, stdin: Any = subprocess.PIPE
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "voltlane", *arguments],
            cwd=cwd,
            env=environment(**(environ or {})),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._out, self._err = bytearray(), bytearray()
        self._readers = [
            threading.Thread(target=self._collect, args=pair, daemon=True)
            for pair in ((self.process.stdout, self._out), (self.process.stderr, self._err))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def out(self) -> bytes:
        """Standard output so far."""
        return bytes(self._out)

    @property
    def err(self) -> str:
        """Standard error so far."""
        return self._err.decode()

    def type(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait_out(self, data: bytes) -> None:
        wait_until(lambda: data in self.out, f"{data[:80]!r} on standard output, where there is {self.out[:80]!r}")

    def wait_err(self, pattern: str) -> re.Match[str]:
        """Wait for a regular expression to match in standard error."""
        try:
            wait_until(lambda: re.search(pattern, self.err), f"{pattern!r} on standard error")
        except AssertionError as error:
            raise AssertionError(f"{error}, where there is: {self.err}") from None
        found = re.search(pattern, self.err)
        assert found is not None
        return found

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def finish(self, timeout: float = 10.0) -> int:
        """Wait for its end; the exit code. All output is there then."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout:g} s; standard error: {self.err}") from None
        for reader in self._readers:
            reader.join(timeout)
        return code

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10.0)
        for reader in self._readers:
            reader.join(10.0)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:  # what was typed and never read
                    pass

    @staticmethod
    def _collect(stream: IO[bytes], into: bytearray) -> None:
        while data := os.read(stream.fileno(), 65536):
            into += data
