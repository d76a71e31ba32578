"""Many connections of servers, one to the backend: packets of all go up as one stream, and down to whoever has the
client, by the node in its id. `python -m bench.workers.concentrator LINKS MASTER FILE COMMAND…` starts it, and becomes
the command, with {concentrator} for its port; at the end the file has what it has cost.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
import time

HEAD = struct.Struct("<IQB")
NODE = 45
RECEIVE = 1 << 20
MOST = 4 << 20
"""Bytes that wait for one side: more is not read until these are fewer."""


class End:
    """One connection, with what was received of it in part, and what waits for it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.received = bytearray()
        self.waiting = bytearray()

    def flush(self) -> None:
        try:
            while self.waiting:
                with memoryview(self.waiting) as view, view[:RECEIVE] as piece:
                    sent = self.sock.send(piece)
                del self.waiting[:sent]
        except BlockingIOError:
            pass


class Concentrator:
    """Links by node, as their first packets say."""

    def __init__(self, links: list[End], master: End) -> None:
        self.links = links
        self.master = master
        self.by_node: dict[int, End] = {}
        self.packets = 0

    def up(self, link: End) -> None:
        """Whole packets of one link go to the master."""
        data, position, last = link.received, 0, len(link.received) - HEAD.size
        unpack = HEAD.unpack_from
        count = 0
        while position <= last:
            size, client_id, _ = unpack(data, position)
            end = position + 4 + size
            if end > len(data):
                break
            position = end
            count += 1
        if count:
            self.by_node[client_id >> NODE] = link
            self.packets += count
            self.master.waiting += data[:position]
            del data[:position]

    def down(self) -> None:
        """Whole packets of the master go where their clients are: a run of packets for one link as one piece."""
        data, position, last = self.master.received, 0, len(self.master.received) - HEAD.size
        unpack, by_node, begin, current = HEAD.unpack_from, self.by_node, 0, -1
        while position <= last:
            size, client_id, _ = unpack(data, position)
            end = position + 4 + size
            if end > len(data):
                break
            node = client_id >> NODE
            if node != current:
                if position > begin:
                    by_node[current].waiting += data[begin:position]
                begin, current = position, node
            position = end
            self.packets += 1
        if position > begin:
            by_node[current].waiting += data[begin:position]
        del data[:position]

    def run(self, lifeline: int) -> None:
        """Until the lifeline ends."""
        ends = {end.sock.fileno(): end for end in (self.master, *self.links)}
        poller = select.epoll()
        masks = dict.fromkeys(ends, select.EPOLLIN)
        for number in ends:
            poller.register(number, select.EPOLLIN)
        poller.register(lifeline, select.EPOLLIN)
        while True:
            for number, mask in poller.poll():
                if number == lifeline:
                    return
                end = ends[number]
                if mask & ~select.EPOLLOUT:
                    data = end.sock.recv(RECEIVE)
                    if not data:
                        return
                    end.received += data
                    if end is self.master:
                        self.down()
                    else:
                        self.up(end)
            for end in ends.values():
                end.flush()
            for number, end in ends.items():
                others = self.links if end is self.master else [self.master]
                reads = all(len(other.waiting) < MOST for other in others)
                wanted = (select.EPOLLIN if reads else 0) | (select.EPOLLOUT if end.waiting else 0)
                if wanted != masks[number]:
                    masks[number] = wanted
                    poller.modify(number, wanted)


def serve(links: int, master: int, file: str, lifeline: int) -> None:
    """Say the port, wait for so many links, go on until the lifeline ends, and write what it was."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(links)
        print(listener.getsockname()[1], flush=True)
        ends = [End(listener.accept()[0]) for _ in range(links)]
    concentrator = Concentrator(ends, End(socket.create_connection(("127.0.0.1", master))))
    before = time.process_time()
    try:
        concentrator.run(lifeline)
    except OSError:
        pass
    with open(file, "a", encoding="utf-8") as output:
        figures = {"links": links, "packets": concentrator.packets, "cpu_secs": time.process_time() - before}
        output.write(json.dumps(figures) + "\n")


def main() -> None:
    """Start the one, become the other."""
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], 0)
        return
    links, master, file, *command = sys.argv[1:]
    ours, theirs = os.pipe()  # ends with the last process that has our end of it
    started = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, "serve", links, master, file],
        stdin=ours, stdout=subprocess.PIPE, start_new_session=True, text=True,
    )  # fmt: skip
    os.close(ours)
    assert started.stdout is not None
    port = started.stdout.readline().strip()
    os.set_inheritable(theirs, True)
    os.execvp(command[0], [part.replace("{concentrator}", port) for part in command])


if __name__ == "__main__":
    main()
