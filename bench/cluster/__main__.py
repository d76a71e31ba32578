"""`python -m bench.cluster`: three nodes, a redis, a HAProxy, and clients of both versions on both lanes; every few
seconds a node is killed. What was lost is printed; nothing that was acknowledged may be."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from ..options import at_least
from ..wires import Fault
from .backend import Account, Backend
from .clients import Client
from .nodes import Cluster, cluster

KINDS = ((3, "tcp"), (3, "ws"), (2, "tcp"), (2, "ws"))
DEAD_SECS = 1.5
FROZEN_SECS = 4.0
"""Longer than a lease."""
STORE_SHARE = 0.4
"""Of what is done to the redis, with `--store`."""
SETTINGS = {"CLUSTER_LEASE_SECS": "2", "CLIENTS_STALE_TIMEOUT_SECS": "120"}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when something acknowledged was lost, or doubled, or missing without a word."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("--seconds", type=at_least(1, float), default=120.0, help="(%(default)g)")
    parser.add_argument("--every", type=at_least(1, float), default=10.0, help="seconds between kills (%(default)g)")
    parser.add_argument("--clients", type=at_least(len(KINDS), int), default=40, help="(%(default)s)")
    parser.add_argument("--nodes", type=at_least(1, int), default=3, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--store", action="store_true", help="the redis is killed or frozen now and then as well")
    given = parser.parse_args(argv)
    try:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voltlane-cluster-")))
            backend = stack.enter_context(closing(Backend()))
            nodes = stack.enter_context(cluster(directory, backend.address, given.nodes, SETTINGS))
            print(f"{given.nodes} nodes, a redis and a HAProxy; {given.clients} clients of v3 and v2, tcp and ws")
            return _run(
                nodes, backend, given.clients, given.seconds, given.every, random.Random(given.seed), given.store
            )
    except Fault as fault:
        print(f"FAULT: {fault}")
        return 1


def _run(
    nodes: Cluster, backend: Backend, count: int, seconds: float, every: float, dice: random.Random, store: bool
) -> int:
    clients = []
    kinds = [KINDS[index % len(KINDS)] for index in range(count)]
    dice.shuffle(kinds)  # the balancer takes turns, and is not to have all of a kind on one node
    for index, (protocol, lane) in enumerate(kinds):
        clients.append(Client(index, protocol, lane, nodes.addresses[lane], dice.randrange(1 << 30)))
    for client in clients:
        client.start()
    kills = _kill(nodes, seconds, every, dice, store)
    for client in clients:
        client.ending.set()
    for client in clients:
        client.join()
    time.sleep(0.5)  # what the last nodes have written is on its way to the backend
    return tell(clients, backend, kills)


def _kill(nodes: Cluster, seconds: float, every: float, dice: random.Random, store: bool) -> int:
    kills, end = 0, time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, every))
        if end - time.monotonic() < every / 2:
            continue
        if store and dice.random() < STORE_SHARE:
            _hurt(nodes, dice)
            continue
        node = dice.choice(nodes.nodes)
        node.kill()
        kills += 1
        time.sleep(DEAD_SECS)
        node.start()
        node.wait()
    return kills


def _hurt(nodes: Cluster, dice: random.Random) -> None:
    """The redis is away for a while, or comes back with nothing."""
    if dice.random() < 0.5:
        print("the redis is killed")
        nodes.redis.kill()
        time.sleep(DEAD_SECS)
        nodes.redis.start()
    else:
        print("the redis is frozen")
        nodes.redis.signal(signal.SIGSTOP)
        time.sleep(FROZEN_SECS)
        nodes.redis.signal(signal.SIGCONT)


class Row:
    """What became of the packets of one kind of clients."""

    def __init__(self, clients: Sequence[Client], backend: Backend) -> None:
        self.sent = self.lost_up = self.told = self.moves = 0
        self.lost_down = sum(client.missing for client in clients)
        self.silent_down = sum(client.silent for client in clients)
        self.lost_sessions = sum(client.lost for client in clients)
        self.silent: list[str] = []
        """Who lost what without a word."""
        for client in clients:
            for client_id, sent, uncertain in [*client.past, (client.id, client.sent, client.uncertain)]:
                account = backend.accounts.get(client_id) or Account()
                missing = set(range(1, sent + 1)) - account.numbers
                told = {number for number in missing if any(first <= number <= last for first, last in uncertain)}
                self.sent += sent
                self.lost_up += len(missing)
                self.told += len(told)
                self.moves += account.moves
                if missing - told:
                    self.silent.append(f"{client.name}: packets {sorted(missing - told)[:5]} were lost without a word")
            if client.silent:
                self.silent.append(f"{client.name}: {client.silent} answers are missing without a word")


def tell(clients: Sequence[Client], backend: Backend, kills: int) -> int:
    """Print what became of all packets. The exit code."""
    faults = [client.fault for client in clients if client.fault] + [backend.fault] * bool(backend.fault)
    print(f"{kills} nodes were killed")
    print("clients   sent up   lost up   of that told   lost down   of that not told   moves   sessions lost")
    for protocol, lane in KINDS:
        row = Row([client for client in clients if (client.protocol, client.lane) == (protocol, lane)], backend)
        print(
            f"v{protocol} {lane:4}  {row.sent:9}  {row.lost_up:8}  {row.told:13}  {row.lost_down:10}"
            f"  {row.silent_down:17}  {row.moves:6}  {row.lost_sessions:14}"
        )
        if protocol == 3:  # the other one cannot know
            faults += row.silent
    overtaken = sum(account.overtaken for account in backend.accounts.values())
    print(f"{overtaken} packets came by an old link behind one that had come by a newer one")
    for fault in faults[:20]:
        print(f"FAULT: {fault}")
    print("nothing that was acknowledged was lost" if not faults else f"{len(faults)} faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
