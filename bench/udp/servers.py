"""The servers under test: Voltlane's forms, a C program, and what people would use instead."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .. import servers
from ..rivals import nginx_datagrams
from ..servers import ROOT, Server
from ..wires import Wire

HERE = Path(__file__).parent
RIVALS = ("c", "asyncio", "uvloop", "nginx")
BY_UDP = ("nginx",)
"""Those whose backend gets datagrams, from a port for each client, instead of one stream of tagged packets."""
_SETTINGS = {
    "VOLTLANE_UDP_MODE": "open",
    "VOLTLANE_UDP_NEW_RATE": "0",
    "VOLTLANE_UDP_NETWORK_RATE": "0",
    "VOLTLANE_UDP_PEERS": "1000000",
    "VOLTLANE_UDP_IDLE_SECS": "600",
}
"""All clients are at one address here, and come at once."""


class Programs(NamedTuple):
    """Those in C, compiled."""

    relay: Path
    load: Path
    compiler: str


def compiled(directory: Path) -> Programs:
    """Compile them into that directory. Raises LookupError: what is missing, or what the compiler said."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise LookupError("there is no C compiler (cc); `apt-get install gcc libc6-dev`")
    for name in ("relay", "load"):
        command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(directory / name), str(HERE / f"{name}.c")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise LookupError(f"{name}.c does not compile: {done.stderr.strip()[-400:]}")
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=20).stdout
    return Programs(directory / "relay", directory / "load", said.partition("\n")[0])


def find(
    voltlane: Sequence[str], rivals: Sequence[str], programs: Programs, pypy: str | None, settings: Sequence[str] = ()
) -> tuple[list[Server], list[str]]:
    """Those that can run here, and a note for each that cannot."""
    found, notes = servers.find(voltlane, [], pypy, settings)
    ours = [_by_datagrams(server) for server in found]
    for key in rivals:
        one = _rival(key, programs)
        if isinstance(one, Server):
            ours.append(one)
        else:
            notes.append(one)
    return ours, notes


def _by_datagrams(server: Server) -> Server:
    command = [part.replace("{scheme}127.0.0.1:", "udp://127.0.0.1:") for part in server.command]
    return server._replace(command=command, environment={**_SETTINGS, **server.environment})


def _rival(key: str, programs: Programs) -> Server | str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    if key == "c":
        return Server(key, "C, a call each", f"{programs.compiler}, -O2", Wire(),
                      [str(programs.relay), "{listen}", "{master}"], {})  # fmt: skip
    if key == "nginx":
        try:
            version = nginx_datagrams.find().version
        except LookupError as error:
            return f"nginx: {error}; `apt-get install nginx libnginx-mod-stream`"
        command = [sys.executable, "-m", "bench.rivals.nginx_datagrams", "{listen}", "{master}", "{directory}"]
        return Server(key, "nginx stream", f"{version}, one worker", Wire(), command, {})
    if key == "uvloop":
        if importlib.util.find_spec("uvloop") is None:
            return "uvloop datagrams: uvloop is not installed; `pip install uvloop`"
        python += f", uvloop {importlib.metadata.version('uvloop')}"
    command = [sys.executable, "-m", f"bench.rivals.{key}_datagrams", "{listen}", "{master}"]
    return Server(key, f"{key} datagrams", python, Wire(), command, {"PYTHONPATH": str(ROOT)})
