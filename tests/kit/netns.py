"""Two machines in network namespaces of the test's own, and a cable between them (Linux, root).

with Cable() as cable:
    with cable.inside(SERVER): server = ServerProcess(...)        # processes and sockets begun here are there
    with cable.inside(CLIENT): connection = Connection(...)
    cable.readdress("10.77.0.3")                                  # the client's machine
    cable.set_mtu(576)
    cable.spoil("loss", "10%", "delay", "80ms", "20ms")           # where the kernel has netem
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator

SERVER, CLIENT = "server", "client"
SERVER_HOST = "10.77.0.1"
_NEW_NETWORK = 0x40000000
"""CLONE_NEWNET; Python has setns from 3.12 on."""
_COUNT = iter(range(1 << 16))


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


@functools.cache
def why_not() -> str:
    """Why there can be no such machines here; "" where there can."""
    if os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "network namespaces need ip (iproute2)"
    try:
        with Cable():
            return ""
    except OSError as error:
        return f"no network namespaces here: {error}"


@functools.cache
def why_no_faults() -> str:
    """Why no cable can be spoilt here; "" where one can."""
    if why_not() or not shutil.which("tc"):
        return why_not() or "netem needs tc (iproute2)"
    try:
        with Cable() as cable:
            cable.spoil("loss", "1%")
            return ""
    except OSError as error:
        return f"no netem here: {error}"


class Cable:
    """Both machines, each with loopback and one end of it. Raises OSError where that cannot be."""

    def __init__(self) -> None:
        mark = f"{os.getpid():x}{next(_COUNT):x}"
        self._names = {SERVER: f"vls{mark}", CLIENT: f"vlc{mark}"}
        self._ends = {SERVER: f"s{mark}"[-15:], CLIENT: f"c{mark}"[-15:]}
        self.client_host = "10.77.0.2"
        try:
            for name in self._names.values():
                _run("ip", "netns", "add", name)
            server, client = self._names.values()
            _run("ip", "link", "add", self._ends[SERVER], "netns", server, "type", "veth",
                 "peer", "name", self._ends[CLIENT], "netns", client)  # fmt: skip
            for side, host in ((SERVER, SERVER_HOST), (CLIENT, self.client_host)):
                self._ip(side, "addr", "add", f"{host}/24", "dev", self._ends[side])
                for link in ("lo", self._ends[side]):
                    self._ip(side, "link", "set", link, "up")
        except BaseException:
            self.close()
            raise

    def _ip(self, side: str, *command: str) -> None:
        _run("ip", "-n", self._names[side], *command)

    def readdress(self, host: str) -> None:
        """The client's machine has this address from now on, and not the one before."""
        self._ip(CLIENT, "addr", "del", f"{self.client_host}/24", "dev", self._ends[CLIENT])
        self._ip(CLIENT, "addr", "add", f"{host}/24", "dev", self._ends[CLIENT])
        self.client_host = host

    def set_mtu(self, size: int) -> None:
        """Bytes of the largest packet on the cable."""
        for side, end in self._ends.items():
            self._ip(side, "link", "set", "dev", end, "mtu", str(size))

    def spoil(self, *netem: str) -> None:
        """What happens to packets, either way, in the words of netem. Raises OSError where the kernel has none."""
        for side, end in self._ends.items():
            _run("tc", "-n", self._names[side], "qdisc", "replace", "dev", end, "root", "netem", *netem)

    @contextlib.contextmanager
    def inside(self, side: str) -> Iterator[None]:
        """What this thread opens and starts within the block is on that machine."""
        with open("/proc/thread-self/ns/net", "rb") as home:
            self._enter(f"/run/netns/{self._names[side]}")
            try:
                yield
            finally:
                _set_namespace(home.fileno())

    @staticmethod
    def _enter(path: str) -> None:
        with open(path, "rb") as there:
            _set_namespace(there.fileno())

    def close(self) -> None:
        for name in self._names.values():
            with contextlib.suppress(OSError):
                _run("ip", "netns", "del", name)

    def __enter__(self) -> Cable:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _set_namespace(descriptor: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(descriptor, _NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "setns")
