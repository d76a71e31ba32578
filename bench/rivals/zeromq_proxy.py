"""A ZeroMQ proxy, ROUTER to DEALER: clients are DEALER sockets, the backend is another."""

from __future__ import annotations

import sys

import zmq

CLIENT_PACKETS, BACKEND_PACKETS = 8192, 32768
"""High-water marks: Voltlane's own capacities. With the default, 1000, it would be the waiting that is measured."""


def main(listen: int, master: int) -> None:
    """Until killed."""
    context = zmq.Context()
    clients, backend = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    clients.backlog = 4096
    clients.set_hwm(CLIENT_PACKETS)
    backend.set_hwm(BACKEND_PACKETS)
    backend.connect(f"tcp://127.0.0.1:{master}")
    clients.bind(f"tcp://127.0.0.1:{listen}")
    zmq.proxy(clients, backend)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
