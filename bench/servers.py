"""The servers under test: Voltlane in the forms that this machine has, and what people would use instead."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, NamedTuple

from voltlane.wire.v3 import Suite

from .nchan import Nchan
from .records import V3
from .rivals import nchan
from .websocket import WebSocket
from .wires import Fault, Plain, Wire, Zmtp

ROOT = Path(__file__).resolve().parent.parent
VOLTLANE = ("native", "pure", "pypy")
PROTOCOLS = {
    "v2": Wire(),
    "v3": V3(Suite.NOISE),
    "v3-clear": V3(Suite.CLEAR),
    "v2-ws": WebSocket("v2"),
    "open-ws": WebSocket("open"),
}
"""What Voltlane's clients may speak: of version 3 both suites; over WebSocket version 2, and open."""
RIVALS = ("zeromq", "asyncio", "uvloop", "picows", "websockets", "nchan")
_CONFIG = '[general]\nlog_level = "Warn"\n\n[master]\ngive_up_secs = 30\n'
_START_SECS = 20
_COMPILER_SECS = 1.0
"""PyPy compiles what has run for a while."""


class Server(NamedTuple):
    """How to start one."""

    key: str
    label: str
    detail: str
    """What exactly runs, for the report."""
    wire: Wire
    command: Sequence[str]
    """{listen} and {master} stand for the ports, {scheme} for the listener's, {directory} for a directory of its own
    in which there is an empty configuration of Voltlane's, bench.toml."""
    environment: dict[str, str]
    warm: float = 0.0
    """Seconds it takes, beyond the usual, until it runs as it will run."""
    head_start: float = 0.0
    """Seconds before the first clients come."""

    def speaking(self, protocol: str) -> Server:
        """The same with clients that speak another one of `PROTOCOLS`."""
        if protocol == "v2":
            return self
        label = f"{self.label.replace('Voltlane, ', '')}, {protocol.replace('-', ' ')}"
        wire, environment = PROTOCOLS[protocol], self.environment
        if wire.scheme:  # the generator's clients answer no pings
            environment = {**environment, "VOLTLANE_WEB_PING_SECS": "0"}
        return self._replace(key=f"{self.key}-{protocol}", label=label, wire=wire, environment=environment)

    @contextmanager
    def running(self, master: int) -> Iterator[Running]:
        """Start it, with its backend at that port; end it in the end."""
        with tempfile.TemporaryDirectory(prefix="voltlane-bench-") as directory:
            Path(directory, "bench.toml").write_text(_CONFIG, encoding="utf-8")
            log = Path(directory, "log")
            port = _free_port()
            names = {"listen": port, "scheme": self.wire.scheme, "master": master, "directory": directory}
            command = [part.format(**names) for part in self.command]
            clean = {name: value for name, value in os.environ.items() if not name.startswith("VOLTLANE_")}
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command, cwd=ROOT, env={**clean, **self.environment}, stdin=subprocess.DEVNULL,
                    stdout=output, stderr=output, start_new_session=True,
                )  # fmt: skip
            try:
                yield Running(self, process, port, log)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # and what it has started
                process.wait()


class Running:
    """A server's process, the leader of a process group. It listens on `port`."""

    def __init__(self, server: Server, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.port = port
        self.pid = process.pid
        self._server = server
        self._process = process
        self._log = log

    def check(self, before: str = "") -> None:
        """Raise when it has ended."""
        code = self._process.poll()
        if code is not None:
            said = self._log.read_text(encoding="utf-8", errors="replace").strip()
            raise Fault(f"{before}{self._server.label} ended with code {code}: {said[-400:] or 'it said nothing'}")

    def wait_listening(self, check: Callable[[], None]) -> None:
        """Return when it takes connections."""
        deadline = time.monotonic() + _START_SECS
        while True:
            self.check()
            check()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise Fault(f"{self._server.label} does not listen") from None
                time.sleep(0.01)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find(
    voltlane: Sequence[str], rivals: Sequence[str], pypy: str | None, settings: Sequence[str] = ()
) -> tuple[list[Server], list[str]]:
    """Those that can run here, and a note for each that cannot. `settings`: Voltlane's, each as section.key=value."""
    servers: list[Server] = []
    notes: list[str] = []
    ours = [_with(settings, _VOLTLANE[key](pypy)) for key in voltlane]
    for found in ours + [_rival(key) for key in rivals]:
        if isinstance(found, Server):
            servers.append(found)
        elif found:
            notes.append(found)
    return servers, notes


# ---- Voltlane

_IDS_SECS = 0.5
"""Voltlane gives out 16 ids a millisecond from its start on. Of thousands in its first moment some would be refused."""


def _voltlane(key: str, label: str, python: str, environment: dict[str, str]) -> Server | str:
    launcher = str(ROOT / "voltlane.py")
    try:
        everything = {**os.environ, **environment}
        asked = subprocess.run(
            [python, launcher, "--version"], env=everything, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{label}: {python} does not run: {error}"
    if asked.returncode:
        return f"{label}: with {python}: {asked.stderr.strip() or 'it does not start'}"
    said = asked.stdout.strip().splitlines()
    detail = ", ".join([*said[:1], said[1].partition(",")[0], *said[2:]]) if len(said) > 1 else asked.stdout.strip()
    command = [python, launcher, "serve", "--listen", "{scheme}127.0.0.1:{listen}", "--master", "127.0.0.1:{master}"]
    return Server(
        key, label, detail, Wire(), [*command, "--config", "{directory}/bench.toml"], environment, 0.0, _IDS_SECS
    )


def _with(settings: Sequence[str], found: Server | str) -> Server | str:
    if isinstance(found, str) or not settings:
        return found
    environment = dict(found.environment)
    for setting in settings:
        name, _, value = setting.partition("=")
        environment["VOLTLANE_" + name.upper().replace(".", "_")] = value
    return found._replace(environment=environment, detail=", ".join([found.detail, *settings]))


def _native(pypy: str | None) -> Server | str:
    if platform.python_implementation() == "PyPy":
        return "Voltlane native: the generator runs on PyPy; run it with CPython to have both"
    found = _voltlane("native", "Voltlane, native", sys.executable, {})
    if isinstance(found, Server) and "wire loops: native" not in found.detail and "coincurve" not in found.detail:
        return "Voltlane native: neither the accelerator is built nor coincurve installed; `pip install -e .[fast]`"
    return found


def _pure(pypy: str | None) -> Server | str:
    name = "Voltlane, pure Python" if platform.python_implementation() == "CPython" else "Voltlane"
    return _voltlane("pure", name, sys.executable, {"VOLTLANE_PURE_PYTHON": "1"})


def _pypy(pypy: str | None) -> Server | str:
    if platform.python_implementation() == "PyPy" and not pypy:
        return ""  # what runs already is PyPy
    python = pypy or shutil.which("pypy3")
    if not python:
        return "Voltlane on PyPy: no pypy3 in the path; --pypy PATH names one"
    found = _voltlane("pypy", "Voltlane on PyPy", python, {"_VOLTLANE_RELAUNCHED": "1"})
    return found._replace(warm=_COMPILER_SECS) if isinstance(found, Server) else found


_VOLTLANE = {"native": _native, "pure": _pure, "pypy": _pypy}


# ---- rivals


def _rival(key: str) -> Server | str:
    if key == "nchan":
        return _nchan()
    label, module, packages, wire = {
        "zeromq": ("ZeroMQ proxy", "zeromq_proxy", ["pyzmq"], Zmtp()),
        "asyncio": ("asyncio streams", "asyncio_streams", [], Plain()),
        "uvloop": ("uvloop streams", "uvloop_streams", ["uvloop"], Plain()),
        "picows": ("picows", "picows_uvloop", ["picows", "uvloop"], WebSocket("open")),
        "websockets": ("websockets", "websockets_uvloop", ["websockets", "uvloop"], WebSocket("open")),
    }[key]
    detail = f"{platform.python_implementation()} {platform.python_version()}"
    for package in packages:
        if importlib.util.find_spec({"pyzmq": "zmq"}.get(package, package)) is None:
            return f"{label}: {package} is not installed; `pip install {package}`"
        detail += f", {package} {importlib.metadata.version(package)}"
    command = [sys.executable, "-m", f"bench.rivals.{module}", "{listen}", "{master}"]
    return Server(key, label, detail, wire, command, {})


def _nchan() -> Server | str:
    try:
        program = nchan.find()
    except LookupError as error:
        return f"nchan: {error}; `apt-get install nginx libnginx-mod-nchan`"
    command = [sys.executable, "-m", "bench.rivals.nchan", "{listen}", "{directory}"]
    return Server("nchan", "nchan", f"{program.version}, one worker", Nchan(), command, {})
