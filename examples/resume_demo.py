"""Cut the connection under a client, resume it, and see that nothing was lost.

Starts a connection server, and a backend that counts from 1 upwards to every client that says hello. After a third of
the numbers the client's line is cut; the counting goes on. The client comes back, and must find every number, once, in
order. Exits with 0 if so, else with 1.
"""

import argparse
import contextlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

try:
    import voltlane  # noqa: F401
except ImportError:  # run from a checkout
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from voltlane.backend import Firehose
from voltlane.client import Connection
from voltlane.errors import ConnectionLost


@contextlib.contextmanager
def connection_server(master):
    """Its address. It runs in a directory of its own, with a configuration file that leaves everything as it is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
    command = [sys.executable, "-m", "voltlane", "serve", "--listen", listen, "--master", master, "--log-level", "Warn"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "connserver.toml").touch()
        with subprocess.Popen(command, cwd=directory, env=environment) as process:
            try:
                yield listen
            finally:
                process.terminate()


@contextlib.contextmanager
def counting_backend(count):
    """Its address. Sends 1 to `count` to every client that says anything, about a thousand numbers a second."""

    def run():
        clients = {}
        while not done.is_set():
            for packet in firehose.poll(0.001):
                if packet.is_data:
                    clients[packet] = iter(range(1, count + 1))
            for packet, numbers in clients.items():
                number = next(numbers, None)
                if number:
                    packet.reply(b"%d" % number)

    done = threading.Event()
    with Firehose("127.0.0.1:0") as firehose:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield str(firehose.address)
        finally:
            done.set()
            thread.join()


def connect(address):
    """The server was started just now: it may take a moment until it listens."""
    deadline = time.monotonic() + 15
    while True:
        try:
            return Connection(address)
        except ConnectionLost:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def cut(connection):
    """Behind the library's back, and brutally: what stands in the two kernels' buffers is gone.

    Version 3 of the protocol saves that too: either side keeps what it sent until the other one has it (SPEC 15).
    """
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.shutdown(socket.SHUT_RDWR)


def receive(connection, count, away):
    """All the numbers, over a connection that is cut after a third of them."""
    got = []
    while len(got) < count:
        try:
            got.append(int(connection.recv(timeout=10)))
            if len(got) == count // 3:
                cut(connection)
        except ConnectionLost as error:
            print(f"after {len(got)} numbers: {error}. Away for {away:g} s, while the backend goes on counting.")
            time.sleep(away)
            connection.reconnect()
            print(f"resumed, still as client {connection.client_id}")
    return got


def run_client(address, count, away):
    with connect(address) as connection:
        print(f"client {connection.client_id} is connected to {address}")
        connection.send(b"hello")
        return receive(connection, count, away)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="how many numbers (default: %(default)s)")
    parser.add_argument("--away", type=float, default=0.3, help="seconds without connection (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        with counting_backend(arguments.count) as master, connection_server(master) as address:
            got = run_client(address, arguments.count, arguments.away)
    except (ConnectionLost, TimeoutError) as error:
        print(f"FAILED: {error}")
        return 1
    if got != list(range(1, arguments.count + 1)):
        print(f"FAILED: {arguments.count - len(set(got))} numbers lost, or out of order")
        return 1
    print(f"all {arguments.count} numbers came, each once, in order: nothing was lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
