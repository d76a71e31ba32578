"""nginx and HAProxy with the configurations of docs/proxies.md; only ports, addresses and files are others."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest
from kit.wait import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "proxies.md"
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
_PORTS = random.Random(os.getpid())


def block(language: str, number: int = 0) -> str:
    """One of the blocks of this language that stand in the document."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(found[number])


def program(name: str, package: str = "") -> str:
    """Where it is. Skips the test where it is not."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not here: apt-get install {package or name}")
    return path


def unused_port() -> int:
    """One that nobody listens on, and that the system gives to nobody by itself: the proxy has to get it twice."""
    while True:
        port = _PORTS.randrange(20_000, 32_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            return port


_Proxy = TypeVar("_Proxy", bound="Proxy")


class Proxy:
    """One of the two, which can be killed and started again."""

    def __init__(self, directory: Path, certificate: Path, key: Path, web: str, tcp: str) -> None:
        """`web`, `tcp`: where the server listens for these."""
        self.web_port, self.tcp_port = unused_port(), unused_port()
        self._log = directory / "proxy.log"
        self._arguments = self.prepare(directory, certificate, key, web, tcp)
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self, directory: Path, certificate: Path, key: Path, web: str, tcp: str) -> list[str]:
        """Write the configuration; the command that starts the proxy with it."""
        raise NotImplementedError

    def start(self) -> None:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(self._arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._answers, f"the proxy to listen: {self._arguments[0]}")
        assert self._process.poll() is None, self._log.read_text()

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"the proxy has ended:\n{self._log.read_text()}")
        for port in (self.web_port, self.tcp_port):
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)):
                    return False
        return True

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def changed(text: str, changes: dict[str, str]) -> str:
    """A configuration with other ports, addresses and files: each of those must stand in it."""
    for before, after in changes.items():
        assert before in text, f"{before!r} does not stand in {DOCUMENT.name} any more"
        text = text.replace(before, after)
    return text


class Nginx(Proxy):
    def prepare(self, directory: Path, certificate: Path, key: Path, web: str, tcp: str) -> list[str]:
        path = program("nginx")
        if not STREAM_MODULE.exists():
            pytest.skip("nginx is here without its part for TCP: apt-get install libnginx-mod-stream")
        files = [
            f"{name}_temp_path {directory / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ]
        changes = {
            "include /etc/nginx/modules-enabled/*.conf;": f"load_module {STREAM_MODULE};",
            "http {": "\n    ".join(["http {", "access_log off;", *files]),
            "listen 443 ssl": f"listen 127.0.0.1:{self.web_port} ssl",
            "listen 42443 ssl": f"listen 127.0.0.1:{self.tcp_port} ssl",
            "/etc/ssl/example.com.pem": str(certificate),
            "/etc/ssl/example.com.key": str(key),
            "127.0.0.1:42080": web,
            "127.0.0.1:42000": tcp,
        }
        configuration = directory / "nginx.conf"
        configuration.write_text(changed(block("nginx"), changes))
        here = f"daemon off; master_process off; pid {directory / 'pid'}; error_log stderr;"
        return [path, "-c", str(configuration), "-e", "stderr", "-g", here]


class HAProxy(Proxy):
    number = 0
    """Which of the document's."""

    def nodes(self, web: str, tcp: str) -> dict[str, str]:
        """What stands for the servers in the document, and what is to be there."""
        return {"127.0.0.1:42080": web, "127.0.0.1:42000": tcp}

    def prepare(self, directory: Path, certificate: Path, key: Path, web: str, tcp: str) -> list[str]:
        path = program("haproxy")
        both = directory / "both.pem"
        both.write_text(certificate.read_text() + key.read_text())
        changes = {
            "bind :443 ssl": f"bind 127.0.0.1:{self.web_port} ssl",
            "bind :42443 ssl": f"bind 127.0.0.1:{self.tcp_port} ssl",
            "/etc/haproxy/example.com.pem": str(both),
            **self.nodes(web, tcp),
        }
        configuration = directory / "haproxy.cfg"
        configuration.write_text(changed(block("haproxy", self.number), changes))
        checked = subprocess.run([path, "-c", "-f", str(configuration)], capture_output=True, text=True, timeout=60)
        assert checked.returncode == 0 and "[WARNING]" not in checked.stderr, checked.stderr
        return [path, "-db", "-f", str(configuration)]


class Node(NamedTuple):
    """Where one of several servers listens, and its admin endpoint."""

    web: str
    tcp: str
    admin: str


class Balancer(HAProxy):
    """HAProxy in front of two servers, a and b."""

    number = 1

    def __init__(self, directory: Path, certificate: Path, key: Path, a: Node, b: Node) -> None:
        self._nodes = {"1": a, "2": b}
        super().__init__(directory, certificate, key, "", "")

    def nodes(self, web: str, tcp: str) -> dict[str, str]:
        changes = {"slowstart 30s": "slowstart 1s"}
        for number, node in self._nodes.items():
            port = node.admin.rpartition(":")[2]
            changes[f"10.0.0.{number}:42080"] = f"{node.web} port {port}"
            changes[f"10.0.0.{number}:42000"] = f"{node.tcp} port {port}"
        return changes

    def wait_for(self, *words: str) -> None:
        """Until it has said so."""
        wait_until(lambda: all(word in self._log.read_text() for word in words), f"HAProxy to say {words}")


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """For this machine, as `make cert` makes it."""
    program("openssl")
    subprocess.run([str(ROOT / ".ci" / "cert")], cwd=directory, check=True, stdout=subprocess.DEVNULL)
    return directory / "cert.pem", directory / "key.pem"


@contextlib.contextmanager
def started(kind: type[Proxy], directory: Path, certificate: Path, key: Path, web: str, tcp: str) -> Iterator[Proxy]:
    """One that listens."""
    with running(kind(directory, certificate, key, web, tcp)) as proxy:
        yield proxy


@contextlib.contextmanager
def running(proxy: _Proxy) -> Iterator[_Proxy]:
    """The same of one that is made already."""
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.kill()
