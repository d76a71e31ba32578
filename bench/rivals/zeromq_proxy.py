"""A ZeroMQ proxy, ROUTER to DEALER: clients are DEALER sockets, the backend is another."""

from __future__ import annotations

import sys

import zmq


def main(listen: int, master: int) -> None:
    """Until killed."""
    context = zmq.Context()
    clients, backend = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    clients.backlog = 4096
    backend.connect(f"tcp://127.0.0.1:{master}")
    clients.bind(f"tcp://127.0.0.1:{listen}")
    zmq.proxy(clients, backend)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
