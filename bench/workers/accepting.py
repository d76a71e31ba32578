"""`python -m bench.workers.accepting`: how connections come to several processes. One process that accepts, and passes
each on over a unix socket, many in one message (SCM_RIGHTS), to the process that has the fewest; beside a listening
socket for each (SO_REUSEPORT), where the kernel chooses by a hash. What a connection costs in CPU time of all
processes, and how evenly they are spread. Nothing of the server is in it but the way of a descriptor."""

from __future__ import annotations

import argparse
import array
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Sequence

COUNTS = (10, 100, 1000)
BATCH = 64
"""Connections accepted in one turn."""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.workers.accepting", description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--connections", type=int, default=20_000, help="for the cost (%(default)s)")
    parser.add_argument("--tries", type=int, default=20, help="for the evenness (%(default)s)")
    given = parser.parse_args(argv)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name, way in WAYS.items():
        spread = []
        for count in COUNTS:
            shares = [way(given.workers, count, 1)[1] for _ in range(given.tries)]
            fullest = [max(share) * given.workers / count for share in shares]
            spread.append(f"{count}: {sum(fullest) / len(fullest):.2f}, at most {max(fullest):.2f}")
        cpu, _ = way(given.workers, 1000, given.connections // 1000)
        cost = 1e6 * cpu / (given.connections // 1000 * 1000)
        print(f"{name:12} {cost:6.1f} µs of CPU time a connection; the fullest to the mean, of {'; of '.join(spread)}")
    return 0


def _listener(reuse: bool, port: int = 0) -> socket.socket:
    sock = socket.socket()
    if reuse:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(4096)
    sock.setblocking(False)
    return sock


def reuse_port(workers: int, count: int, rounds: int) -> tuple[float, list[int]]:
    """A listening socket for each."""
    listeners = [_listener(True)]
    port = listeners[0].getsockname()[1]
    listeners += [_listener(True, port) for _ in range(workers - 1)]

    def accepts(index: int, tell: socket.socket) -> None:
        _take(listeners[index], lambda: _accepted(listeners[index]), tell)

    return _play([lambda tell, index=index: accepts(index, tell) for index in range(workers)], port, count, rounds)


def passing(workers: int, count: int, rounds: int) -> tuple[float, list[int]]:
    """One that accepts for all."""
    listener = _listener(False)
    pairs = [socket.socketpair() for _ in range(workers)]

    def gets(index: int, tell: socket.socket) -> None:
        pairs[index][1].setblocking(False)
        _take(pairs[index][1], lambda: _passed(pairs[index][1]), tell)

    def accepts(tell: socket.socket) -> None:
        poller, counts = select.epoll(), [0] * workers
        poller.register(listener.fileno(), select.EPOLLIN)
        poller.register(tell.fileno(), select.EPOLLIN)
        while True:
            for number, _ in poller.poll():
                if number == tell.fileno():
                    if tell.recv(1) == b"r":
                        counts = [0] * workers
                        tell.send(b"0\n")
                        continue
                    return
                batches: list[list[socket.socket]] = [[] for _ in range(workers)]
                for sock in _accepted(listener):
                    best = counts.index(min(counts))
                    counts[best] += 1
                    batches[best].append(sock)
                for pair, batch in zip(pairs, batches):
                    if batch:
                        rights = array.array("i", [sock.fileno() for sock in batch])
                        pair[0].sendmsg([bytes(20 * len(batch))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                        for sock in batch:
                            sock.close()

    parts = [lambda tell, index=index: gets(index, tell) for index in range(workers)]
    return _play([*parts, accepts], listener.getsockname()[1], count, rounds, workers)


WAYS = {"SO_REUSEPORT": reuse_port, "passed on": passing}


def _accepted(listener: socket.socket) -> list[socket.socket]:
    found = []
    try:
        for _ in range(BATCH):
            sock, _ = listener.accept()
            sock.setblocking(False)
            found.append(sock)
    except BlockingIOError:
        pass
    return found


def _passed(way: socket.socket) -> list[socket.socket]:
    try:
        _, messages, _, _ = way.recvmsg(1 << 16, socket.CMSG_SPACE(253 * 4), socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        return []
    numbers = array.array("i")
    for _, _, rights in messages:
        numbers.frombytes(rights)
    found = [socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, number) for number in numbers]
    for sock in found:
        sock.setblocking(False)
    return found


def _take(source: socket.socket, more: object, tell: socket.socket) -> None:
    """Keep what comes until somebody asks how many there are, which closes them."""
    poller, kept = select.epoll(), []
    poller.register(source.fileno(), select.EPOLLIN)
    poller.register(tell.fileno(), select.EPOLLIN)
    while True:
        for number, _ in poller.poll():
            if number == source.fileno():
                kept += more()  # type: ignore[operator]
            elif tell.recv(1) == b"r":
                tell.send(b"%d\n" % len(kept))
                for sock in kept:
                    sock.close()
                kept.clear()
            else:
                return


def _play(parts: list[object], port: int, count: int, rounds: int, counting: int = 0) -> tuple[float, list[int]]:
    """So many connections at once, again and again: the CPU time of all parts, and who has how many in the end."""
    tells, pids = [], []
    for part in parts:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            part(theirs)  # type: ignore[operator]
            os._exit(0)
        theirs.close()
        tells.append(ours)
        pids.append(pid)
    shares = [0] * len(parts)
    for _ in range(rounds):
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        deadline, shares = time.monotonic() + 10, [0] * len(parts)
        while sum(shares) < count and time.monotonic() < deadline:
            time.sleep(0.01)
            for index, tell in enumerate(tells):
                tell.send(b"r")
                shares[index] += int(tell.makefile("rb").readline())
        for client in clients:
            client.close()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for tell, pid in zip(tells, pids):
        tell.send(b"q")
        os.waitpid(pid, 0)
        tell.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, shares[: counting or len(parts)]


if __name__ == "__main__":
    sys.exit(main())
