"""A backend that sends every packet and datagram back, and is never what is waited for: `python -m bench.echo`.

It looks at the heads only, and goes on reading while it cannot write.
"""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .servers import ROOT

HEAD = struct.Struct("<IQB")
DATAGRAM = 4
RECEIVE = 1 << 20


@contextmanager
def backend(module: str = "bench.echo") -> Iterator[str]:
    """A backend in a process of its own, a module that prints its address first; that address."""
    command = [sys.executable, "-m", module]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def main() -> None:
    """Serve one connection server after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            link, _ = listener.accept()
            with link:
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link.setblocking(False)
                try:
                    _echo(link)
                except ConnectionError:
                    pass


def _echo(link: socket.socket) -> None:
    received, outgoing = bytearray(), bytearray()
    while True:
        readable, _, _ = select.select([link], [link] if outgoing else [], [])
        if readable:
            data = link.recv(RECEIVE)
            if not data:
                return
            received += data
            outgoing += data_packets(received)
        if outgoing:
            try:
                with memoryview(outgoing) as view, view[:RECEIVE] as chunk:
                    sent = link.send(chunk)
                del outgoing[:sent]
            except BlockingIOError:
                pass


def data_packets(received: bytearray) -> bytes:
    """Take the whole packets off `received`; those of them that go back."""
    unpack, head = HEAD.unpack_from, HEAD.size
    position = start = 0
    last, kept = len(received) - head, []
    while position <= last:
        size, _, flag = unpack(received, position)
        end = position + 4 + size
        if end > len(received):
            break
        if flag and flag != DATAGRAM:  # a notice: nothing to send back
            kept.append(received[start:position])
            start = end
        position = end
    kept.append(received[start:position])
    del received[:position]
    return b"".join(kept)


if __name__ == "__main__":
    main()
