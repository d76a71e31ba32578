"""A UDP relay: what one peer sends goes to all others, to those with the best links first.

Each datagram begins with its number (from its sender, one more each time) and its sender's milliseconds, both u32 and
big-endian. From these the relay knows loss, reordering and jitter of each way to it, and says them every few seconds.
Whoever sends is a peer, and gone when silent for half a minute. To an address goes at most three times what came from
there, since anybody can write another's address on a datagram; for a network that is not one's own that is not enough.

python examples/relay.py 127.0.0.1:42042           this; then send it datagrams from anywhere
"""

import argparse
import socket
import struct
import sys
from pathlib import Path
from time import monotonic

try:
    import voltlane  # noqa: F401
except ImportError:  # run from a checkout
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from voltlane.quality import Arrival, Peers, validate_address

HEAD = struct.Struct("!II")
FIGURES = ("score", "loss", "reordered", "jitter", "bandwidth_in")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", default="127.0.0.1:42042", help="where to listen (default: %(default)s)")
    parser.add_argument("--every", type=float, default=5, help="seconds from one table to the next (default: 5)")
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, int(port)))
    local = sock.getsockname()[0].startswith("127.")
    print(f"peers send to {host}:{sock.getsockname()[1]}", flush=True)
    peers: Peers = Peers(timeout=30, most=1000, bits=32, period=2**32 / 1000)
    due = monotonic() + arguments.every
    while True:
        sock.settimeout(max(0.001, due - monotonic()))
        try:
            data, address = sock.recvfrom(2048)
        except OSError:  # nothing for a while, or word of a peer that is not there any more
            data, address = b"", None
        now = monotonic()  # once a turn
        if len(data) >= HEAD.size:
            relay(sock, peers, data, address, now, local)
        if now >= due:
            due = now + arguments.every
            peers.look(now)
            for address, _ in peers.expire(now):
                print(*address, "is gone", flush=True)
            for address, peer in peers.by_score():
                print(*address, *[f"{name}={getattr(peer, name)}" for name in FIGURES], flush=True)


def relay(sock: socket.socket, peers: Peers, data: bytes, address: tuple, now: float, local: bool) -> None:
    peer = peers.get(address)
    if peer is None:
        try:
            validate_address(*address, local=local)
        except ValueError:
            return
        peer = peers.add(address, now)
    if peer is None:  # there are too many
        return
    number, milliseconds = HEAD.unpack_from(data)
    if peer.came(len(data), now, number=number, sent=milliseconds / 1000) is Arrival.REPEATED:
        return
    for other, link in peers.by_score():
        if link is not peer and link.bytes_out + len(data) <= 3 * link.bytes_in:
            try:
                sock.sendto(data, other)
                link.went(len(data))
            except OSError:  # nobody is there, or the way is full: it is UDP
                pass


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except (OSError, ValueError) as error:  # the address
        sys.exit(str(error))
