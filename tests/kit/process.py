"""The real server, in a process of its own or (for its counters) in a thread of the test; and other real processes."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kit.wait import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
KIT = Path(__file__).resolve().parent
EXIT_TIMEOUT = 15.0
Settings = Mapping[str, object]
"""By "section.key", as in the configuration."""


def environment(settings: Settings) -> dict[str, str]:
    """This process's environment, with these settings and no others."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("VOLTLANE_")}
    environ["PYTHONPATH"] = str(ROOT)
    environ.update({"VOLTLANE_" + name.upper().replace(".", "_"): str(value) for name, value in settings.items()})
    return environ


def usual(master: str, settings: Settings) -> dict[str, object]:
    """What tests want: any free port, every log line, no long waits for a master that is coming back."""
    return {
        "general.log_level": "Debug",
        "general.log_lines_per_minute": 0,
        "listener.address": "127.0.0.1:0",
        "master.address": master,
        "master.reconnect_min_secs": 0.02,
        "master.reconnect_max_secs": 0.02,
        **settings,
    }


class Process:
    """A Python process whose standard error goes to a file, which is its log."""

    def __init__(self, arguments: list[str], environ: Mapping[str, str], pass_fds: Sequence[int] = ()) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._log_file = Path(self._directory.name) / "log"
        with open(self._log_file, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self._directory.name,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=pass_fds,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def directory(self) -> str:
        """Its working directory, which goes with it."""
        return self._directory.name

    @property
    def log(self) -> str:
        """Everything logged so far."""
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    def wait_for_log(self, text: str, times: int = 1) -> None:
        """Wait until the text stands in the log that many times."""
        self._wait_until(lambda: self.log.count(text) >= times, f"{text!r} in the log")

    def wait(self) -> int:
        """Wait for the process's end by itself; its exit code."""
        return self.process.wait(EXIT_TIMEOUT)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Kill it if need be, and remove its files."""
        self.kill()
        self._directory.cleanup()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def _wait_until(self, predicate: object, what: str) -> None:
        def found() -> bool:
            return bool(predicate()) or self.has_ended  # type: ignore[operator]

        try:
            wait_until(found, what)
            assert predicate(), f"the process ended before {what}"  # type: ignore[operator]
        except AssertionError as error:
            raise AssertionError(f"{error}\n--- its log:\n{self.log[-4000:]}") from None

    # ---- what the system says of it (Linux)

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def context_switches(self) -> int:
        """How often it has waited for something so far: each wake-up adds one."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)[1])  # type: ignore[index]


HAS_PROC = os.path.exists("/proc/self/status")


class ServerProcess(Process):
    """`python -m voltlane serve`, configured by its environment. Ends by SIGTERM, and must then have had no bug."""

    def __init__(self, master: str, settings: Settings | None = None) -> None:
        super().__init__(["-m", "voltlane", "serve"], environment(usual(master, settings or {})))
        self._address = ""

    @property
    def address(self) -> str:
        """Where clients connect to; waits until the server listens there."""
        if not self._address:
            self.wait_for_log("clients connect to ")
            self._address = re.search(r"clients connect to ([^\s\"\\]+)", self.log)[1]  # type: ignore[index]
        return self._address

    @property
    def datagrams(self) -> tuple[str, int]:
        """The first place to which datagrams are sent; waits until the server receives there."""
        self.wait_for_log("clients connect to udp://")
        host, port = re.search(r"clients connect to udp://(\S+?):(\d+)", self.log).groups()  # type: ignore[union-attr]
        return host, int(port)

    @property
    def stats(self) -> dict[str, Any]:
        """What /stats says now; the admin endpoint has to be on (`admin.address`), without a token."""
        self.wait_for_log("the admin endpoint is at ")
        place = re.search(r"the admin endpoint is at ([^\s\"\\]+)", self.log)[1]  # type: ignore[index]
        with urllib.request.urlopen(f"http://{place}/stats", timeout=EXIT_TIMEOUT) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def __enter__(self) -> ServerProcess:
        return self

    def stop(self) -> int:
        """See Process. Before its first word it is not ready for a signal, but a Python that starts."""
        self._wait_until(lambda: self.log, "its first word")
        return super().stop()

    def close(self) -> None:
        alive = self.process.poll() is None
        if alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
        code, log = self.process.poll(), self.log
        super().close()
        assert "internal error" not in log and "Traceback" not in log, log[-4000:]
        if alive:
            assert code == 0, f"exit code {code} after SIGTERM\n{log[-4000:]}"


class EmbeddedServer:
    """The same server in a thread, for tests that look at its counters. A client's or master's view is the same."""

    def __init__(self, master: str, settings: Settings | None = None) -> None:
        from voltlane import config
        from voltlane.server import Server

        self.lines: list[str] = []
        self._handler = _Collect(self.lines)
        self._logger = logging.getLogger("voltlane")
        self._level = self._logger.level
        self._logger.addHandler(self._handler)
        self._logger.setLevel(logging.DEBUG)
        self.server = Server(config.load(None, environment(usual(master, settings or {})), {}))
        self.server.start()
        self.counters = self.server.counters
        self.address = str(self.server.listen_address)
        self.exit_code: int | None = None
        self.expected_bugs = 0
        """How often a test made the server's own code fail."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.exit_code = self.server.run()

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def wait_for_log(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.log.count(text) >= times, f"{text!r} in the log")

    def close(self) -> None:
        if self._thread.is_alive():
            self.server.stop()
        self._thread.join(EXIT_TIMEOUT)
        self._logger.removeHandler(self._handler)
        self._logger.setLevel(self._level)
        assert not self._thread.is_alive(), "the server did not stop"
        assert self.counters.internal_errors == self.expected_bugs, self.log[-4000:]

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Collect(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self._lines.append(text)


class BackendProcess(Process):
    """An echoing backend (kit/echo_process.py): every data packet goes back to whom it came from."""

    def __init__(self, port: int = 0) -> None:
        super().__init__([str(KIT / "echo_process.py"), str(port)], environment({}))
        self.wait_for_log("listening on ")
        self.address = re.search(r"listening on (\S+)", self.log)[1]  # type: ignore[index]
        self.port = int(self.address.rpartition(":")[2])

    def __enter__(self) -> BackendProcess:
        return self
