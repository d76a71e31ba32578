"""A chat in the terminal: lines typed go out, lines of others appear. Its backend is examples/chat_backend.py.

One thread reads packets, the main thread reads the keyboard and writes packets: `Connection` needs no lock for that.
A lost connection heals by itself, and what was said meanwhile still comes.
"""

import argparse
import getpass
import sys
import threading
import time
from pathlib import Path

try:
    import voltlane  # noqa: F401
except ImportError:  # run from a checkout
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from voltlane.client import Connection
from voltlane.errors import ConnectionLost, SessionLost, Told


class Chat:
    def __init__(self, address, name):
        self.name = name
        self.begin(address)

    def begin(self, address):
        self.connection = Connection(address, reconnect="auto")
        self.connection.send(f"/name {self.name}".encode())

    def read(self):
        while not self.connection.closed:
            try:
                for packet in self.connection:
                    print(packet.decode(), flush=True)
            except Told as told:  # what a server that was killed could not save
                print(f"* {told}", flush=True)
            except SessionLost as error:
                self.begin_again(error)
            except ConnectionLost as error:  # nobody is to be talked to, as long as it has another key
                print(f"* {error}", flush=True)

    def begin_again(self, error):
        try:
            self.begin(self.connection.address)
            print(f"* {error}; this is a new session", flush=True)
        except ConnectionLost:
            time.sleep(1.0)  # reading fails at once, and brings us here again

    def say(self, text):
        while True:
            try:
                return self.connection.send(text.encode())
            except ConnectionLost:
                time.sleep(0.2)  # the reader begins a new session


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "address", nargs="?", default="127.0.0.1:42000", help="of the connection server (default: %(default)s)"
    )
    parser.add_argument("--name", default=getpass.getuser(), help="who you are (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        chat = Chat(arguments.address, arguments.name)
    except ConnectionLost as error:
        sys.exit(str(error))
    try:
        threading.Thread(target=chat.read, daemon=True).start()
        for line in sys.stdin:
            chat.say(line.rstrip("\n"))
    finally:
        chat.connection.close()  # for good: the others are told at once


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
