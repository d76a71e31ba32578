"""A real redis-server in a directory of its own, on a port of loopback or a unix socket. Tests that ask for one are
skipped where there is none."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.wait import wait_until

try:
    import hiredis
except ImportError:
    hiredis = None

_PORTS = random.Random(os.getpid() + 1)


def redis_path() -> str:
    """Where it is. Skips the test where there is none, or nothing that reads its answers."""
    path = shutil.which("redis-server", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        pytest.skip("redis-server is not here: apt-get install redis-server")
    if hiredis is None:
        pytest.skip("hiredis is not here: pip install hiredis")
    return path


def unused_port() -> int:
    """One that nobody listens on, and that the system gives to nobody by itself: it is needed again at a restart."""
    while True:
        port = _PORTS.randrange(20_000, 32_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            return port


class RedisServer:
    """One that listens. It saves nothing unless told to (`options`: `appendonly="yes"`), so a restart forgets all."""

    def __init__(self, *, unix: bool = False, password: str = "", **options: object) -> None:
        """`options`: as in redis.conf, with _ for -."""
        path = redis_path()
        self._directory = tempfile.TemporaryDirectory(prefix="redis-")
        self.directory = Path(self._directory.name)
        self.port = 0 if unix else unused_port()
        self.address = f"127.0.0.1:{self.port}"
        """Of one with a port, as the fault proxy takes it."""
        self.socket = self.directory / "redis.sock"
        credentials = f":{password}@" if password else ""
        self.url = f"unix:{self.socket}" if unix else f"redis://{credentials}{self.address}"
        self.password = password
        self.options: dict[str, object] = {
            "bind": "127.0.0.1",
            "port": self.port,
            "dir": self.directory,
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            "protected-mode": "yes",
            "loglevel": "notice",
            **({"unixsocket": self.socket} if unix else {}),
            **({"requirepass": password} if password else {}),
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        """May be changed before a restart."""
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self, *, answers: bool = True) -> None:
        """Start it; returns when it answers, or, without `answers`, when it can be connected to."""
        configuration = self.directory / "redis.conf"
        configuration.write_text("".join(f'{name} "{value}"\n' for name, value in self.options.items()))
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                [self._path, str(configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
            )
        wait_until(self._is_there if answers else self._listens, "redis-server to listen")

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            self._connect().close()
            return True
        return False

    def _is_there(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "redis-server has ended:\n" + self.log
        with contextlib.suppress(OSError, RuntimeError):
            return self.ask("PING") == b"PONG"
        return False

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _connect(self) -> socket.socket:
        if not self.port and "tls-port" not in self.options:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(10)
            sock.connect(str(self.socket))
            return sock
        return socket.create_connection(("127.0.0.1", self.port), 10)

    def ask(self, *arguments: object) -> object:
        """A command over a connection of its own; raises RuntimeError for an error."""
        reader = hiredis.Reader(replyError=RuntimeError)
        commands = [("AUTH", self.password)] if self.password else []
        commands.append(arguments)
        with self._connect() as sock:
            for command in commands:
                words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
                sock.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))
            answers: list[object] = []
            while len(answers) < len(commands):
                data = sock.recv(1 << 16)
                if not data:
                    raise OSError("it has closed the connection")
                reader.feed(data)
                while (answer := reader.gets()) is not False:
                    answers.append(answer)
        if isinstance(answers[-1], Exception):
            raise answers[-1]
        return answers[-1]

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """SIGKILL, and start it again, on the same port."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): the system still takes connections and bytes for it."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """After `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        self._directory.cleanup()

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def redis_server(**options: object) -> Iterator[RedisServer]:
    """One for a test."""
    with RedisServer(**options) as server:  # type: ignore[arg-type]
        yield server
