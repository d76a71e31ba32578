"""The backend of a small game: whoever is on the coin first gets it. Its players are examples/game.py.

Positions come and go as datagrams, many times a second: one that is lost is soon out of date anyway. What must arrive,
who plays and who got the coin, goes by the stream, as JSON. The connection server has to know that this backend knows
of datagrams, and where to take them:

python examples/game_backend.py
VOLTLANE_MASTER_DATAGRAMS=true VOLTLANE_LISTENER_ADDRESS='*:42000,udp://*:42000' python voltlane.py serve
python examples/game.py
"""

import argparse
import json
import random
import struct
import sys
from pathlib import Path
from time import monotonic

try:
    import voltlane  # noqa: F401
except ImportError:  # run from a checkout
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from voltlane.backend import Firehose
from voltlane.errors import ConfigError, StartupError

WIDTH, HEIGHT = 40, 12
TICK_SECS = 0.05
UP = struct.Struct("!IHH")  # of a player: a number that grows, x and y
TICK = struct.Struct("!I")  # to all: another one, and of each player:
SEEN = struct.Struct("!QHH")  # who, x and y
MOST_SEEN = 90  # with which it fits into a datagram


class Player:
    def __init__(self, packet):
        self.link, self.id = packet.link, packet.client_id
        self.name, self.score = "", 0
        self.tick, self.place = -1, None


class Game:
    def __init__(self):
        self.players = {}
        self.tick = 0
        self.coin = self.anywhere()

    def anywhere(self):
        return random.randrange(WIDTH), random.randrange(HEIGHT)

    def tell(self, **event):
        for player in self.players.values():
            player.link.send(player.id, json.dumps(event).encode())

    def state(self):
        scores = {player.name: player.score for player in self.players.values() if player.name}
        return {"coin": self.coin, "scores": scores}

    def on_packet(self, packet):
        key = (packet.link, packet.client_id)  # ids are unique to a connection server only
        if packet.is_failure:
            gone = self.players.pop(key, None)
            if gone is not None and gone.name:
                self.tell(text=f"{gone.name} has gone", **self.state())
        elif packet.is_data or packet.is_datagram:
            player = self.players.setdefault(key, Player(packet))
            if packet.is_datagram:
                self.on_place(player, packet.data)
            else:
                player.name = packet.data.decode("utf-8", "replace")[:20]
                self.tell(text=f"{player.name} has come", **self.state())

    def on_place(self, player, data):
        if len(data) != UP.size:
            return
        tick, x, y = UP.unpack(data)
        if tick > player.tick:  # one that was overtaken says where somebody was
            player.tick, player.place = tick, (min(x, WIDTH - 1), min(y, HEIGHT - 1))
        if player.place == self.coin:
            player.score += 1
            self.coin = self.anywhere()
            self.tell(text=f"{player.name} has the coin", **self.state())

    def show(self):
        """Where everybody is, to everybody."""
        self.tick += 1
        there = [player for player in self.players.values() if player.place][:MOST_SEEN]
        all_of_it = TICK.pack(self.tick) + b"".join(SEEN.pack(player.id, *player.place) for player in there)
        for player in there:
            player.link.datagram(player.id, all_of_it)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", default="127.0.0.1:42001", help="where to listen (default: %(default)s)")
    game, due = Game(), monotonic()
    with Firehose(parser.parse_args().address) as firehose:
        print(f"connection servers connect to {firehose.address}", flush=True)
        while True:
            for packet in firehose.poll(max(0.0, due - monotonic()) if game.players else None):
                game.on_packet(packet)
            if monotonic() >= due:
                game.show()
                due = monotonic() + TICK_SECS


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except (ConfigError, StartupError) as error:  # the address
        sys.exit(str(error))
