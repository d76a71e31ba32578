"""An echoing backend as a program: `python echo_process.py PORT`. Only the wire, nothing of the package.

Every data packet goes back as it is, and every datagram. A reconnection notice and a failure are written to the log, a
line each. It reads on while it cannot write, so that it never is what a test waits for.
"""

from __future__ import annotations

import select
import socket
import struct
import sys

HEAD = struct.Struct("<IQB")
ECHOED = (0, 4)
"""Data, and datagrams where the server sends them."""
NOTES = {1: "failure", 3: "reconnection"}


def serve(listener: socket.socket) -> None:
    while True:
        link, _ = listener.accept()
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setblocking(False)
        print("a server is here", flush=True)
        try:
            echo(link)
        except ConnectionError:
            pass
        link.close()
        print("the server is gone", flush=True)


def echo(link: socket.socket) -> None:
    received, outgoing = bytearray(), bytearray()
    while True:
        readable, _, _ = select.select([link], [link] if outgoing else [], [])
        if readable:
            data = link.recv(1 << 20)
            if not data:
                return
            received += data
            outgoing += answers(received)
        if outgoing:
            try:
                with memoryview(outgoing) as view, view[: 1 << 20] as chunk:
                    sent = link.send(chunk)
                del outgoing[:sent]
            except BlockingIOError:
                pass


def answers(received: bytearray) -> bytes:
    """Cut the whole packets off `received`; those that go back."""
    position, start, length, kept = 0, 0, len(received), []
    while position + HEAD.size <= length:
        size, client_id, flag = HEAD.unpack_from(received, position)
        end = position + 4 + size
        if end > length:
            break
        if flag not in ECHOED:
            kept.append(received[start:position])
            start = end
            print(NOTES.get(flag, "unexpected"), client_id, bytes(received[position + HEAD.size : end]), flush=True)
        position = end
    kept.append(received[start:position])
    answer = b"".join(kept)
    del received[:position]
    return answer


if __name__ == "__main__":
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", int(sys.argv[1])))
    listening.listen(16)
    print(f"listening on 127.0.0.1:{listening.getsockname()[1]}", flush=True)
    serve(listening)
