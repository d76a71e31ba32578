"""A small game in the terminal: be on the coin ($) first. Its backend is examples/game_backend.py, which says how to
start the connection server.

w, a, s and d move you (@); as long as none was typed you move by yourself. Twenty times a second where you are goes out
as a datagram, and where the others are comes in as one. Who got the coin comes by the stream. Below the board stands
how good the way is at the moment: round trip, jitter, and what is lost each way.
"""

import argparse
import getpass
import json
import select
import struct
import sys
import time
from contextlib import contextmanager
from pathlib import Path

try:
    import voltlane  # noqa: F401
except ImportError:  # run from a checkout
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from voltlane.client import Connection
from voltlane.errors import ConfigError, ConnectionLost, NoDatagrams, Told

WIDTH, HEIGHT = 40, 12
FRAME_SECS = 0.05
UP = struct.Struct("!IHH")
TICK = struct.Struct("!I")
SEEN = struct.Struct("!QHH")
STEPS = {"w": (0, -1), "s": (0, 1), "a": (-1, 0), "d": (1, 0)}


class Game:
    def __init__(self, connection):
        self.connection = connection
        self.frame, self.tick = 0, -1
        self.x, self.y, self.by_itself = WIDTH // 2, HEIGHT // 2, True
        self.others, self.coin, self.scores, self.text = {}, None, {}, ""

    def move(self, keys):
        for key in keys:
            self.by_itself = self.by_itself and key not in STEPS
            step = STEPS.get(key, (0, 0))
            self.x, self.y = (self.x + step[0]) % WIDTH, (self.y + step[1]) % HEIGHT
        if self.by_itself and self.coin:
            self.x += (self.coin[0] > self.x) - (self.coin[0] < self.x)
            self.y += (self.coin[1] > self.y) - (self.coin[1] < self.y)

    def send(self):
        self.frame += 1
        self.connection.datagram(UP.pack(self.frame, self.x, self.y))  # lost or not: the next one follows

    def receive(self, until):
        """Whatever comes until then. The connection heals by itself; meanwhile datagrams go on."""
        for datagram in all_of(self.connection.recv_datagram, until):
            (tick,) = TICK.unpack_from(datagram)
            if tick > self.tick:
                self.tick = tick
                self.others = {who: (x, y) for who, x, y in SEEN.iter_unpack(datagram[TICK.size :])}
        for packet in all_of(self.connection.recv, 0):
            if packet[:1] != b"{":
                continue  # a datagram of somebody without a way for them comes here (udp.fallback)
            event = json.loads(packet)
            self.coin, self.scores, self.text = event["coin"], event["scores"], event["text"]

    @property
    def link(self):
        link = self.connection.datagram_link
        return (
            f"round trip {milliseconds(link.round_trip)}, jitter {milliseconds(link.jitter)}, "
            f"lost {percent(link.loss_in)} in, {percent(link.loss_out)} out"
        )

    @property
    def board(self):
        rows = [[" "] * WIDTH for _ in range(HEIGHT)]
        for who, (x, y) in self.others.items():
            rows[y][x] = "o" if who != self.connection.client_id else " "
        if self.coin:
            rows[self.coin[1]][self.coin[0]] = "$"
        rows[self.y][self.x] = "@"
        edge = "+" + "-" * WIDTH + "+"
        scores = ", ".join(f"{name} {score}" for name, score in self.scores.items())
        return [edge, *("|" + "".join(row) + "|" for row in rows), edge, scores, self.text, self.link]


def all_of(receive, until):
    while True:
        try:
            item = receive(timeout=max(0, until - time.monotonic()))
        except TimeoutError:
            return
        if not isinstance(item, Told):  # what a server that was killed could not save
            yield item


def milliseconds(seconds):
    return "?" if seconds is None else f"{1000 * seconds:.1f} ms"


def percent(of_a_thousand):
    return "?" if of_a_thousand is None else f"{of_a_thousand / 10:.1f} %"


@contextmanager
def keyboard():
    """What was typed, each time it is called, without waiting for the end of a line."""
    if not sys.stdin.isatty():
        yield lambda: ""
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield lambda: sys.stdin.read(1) if select.select([sys.stdin], [], [], 0)[0] else ""
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def play(game, seconds):
    ends, shown, text = time.monotonic() + seconds, 0.0, ""
    with keyboard() as keys:
        while (now := time.monotonic()) < ends:
            game.move(keys())
            game.send()
            game.receive(now + FRAME_SECS)  # what is taken at once has its round trip measured well
            if sys.stdout.isatty():
                print("\x1b[H\x1b[J" + "\n".join(game.board), flush=True)
            elif now >= shown + 1 or game.text != text:
                print(f"{game.text}; {game.link}", flush=True)
                shown, text = now, game.text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "address", nargs="?", default="127.0.0.1:42000", help="of the connection server (default: %(default)s)"
    )
    parser.add_argument("--name", default=getpass.getuser(), help="who you are (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long to play (default: for ever)")
    arguments = parser.parse_args()
    with Connection(arguments.address, reconnect="auto", gaps="return") as connection:
        connection.send(arguments.name.encode())
        play(Game(connection), arguments.seconds)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except (ConfigError, ConnectionLost, NoDatagrams, TimeoutError) as error:
        sys.exit(str(error))
