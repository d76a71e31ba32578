"""The backend of a chat: what one says, all others read. Its clients are examples/chat_client.py.

Lines of text in UTF-8, one a packet. `/name NAME` says who one is; whoever has not said so is a guest.
"""

import argparse
import sys
from pathlib import Path

try:
    import voltlane  # noqa: F401
except ImportError:  # run from a checkout
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from voltlane.backend import Handler
from voltlane.errors import ConfigError, StartupError


class Chat(Handler):
    def __init__(self):
        # Ids are unique to a connection server only, so a member is the pair of its link and its id.
        self.names = {}

    def tell(self, text, but=None):
        print(text, flush=True)
        for link, client_id in self.names:
            if (link, client_id) != but:
                link.send(client_id, text.encode())

    def name_of(self, member):
        if member not in self.names:
            self.names[member] = f"guest {member[1]}"
            self.tell(f"* {self.names[member]} has come", but=member)
        return self.names[member]

    def on_data(self, packet):
        member = (packet.link, packet.client_id)
        text = packet.data.decode("utf-8", "replace")
        if text.startswith("/name ") and text[6:].strip():
            new = text[6:].strip()
            old = self.names.get(member)
            self.names[member] = new
            self.tell(f"* {old} is now {new}" if old else f"* {new} has come")
        else:
            self.tell(f"<{self.name_of(member)}> {text}", but=member)

    def on_failure(self, packet):
        name = self.names.pop((packet.link, packet.client_id), None)
        if name:
            self.tell(f"* {name} has gone ({packet.reason})")

    def on_reconnection(self, packet):
        # What was said meanwhile, it has been sent already: the connection server keeps that.
        member = (packet.link, packet.client_id)
        self.tell(f"* {self.name_of(member)} is back", but=member)

    def on_link_lost(self, link):
        # All it had have failed before this, but for those who had come back by another one first.
        for member in [member for member in self.names if member[0] is link]:
            del self.names[member]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", default="127.0.0.1:42001", help="where to listen (default: %(default)s)")
    address = parser.parse_args().address
    print(f"connection servers connect to {address}", flush=True)
    Chat().serve(address)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except (ConfigError, StartupError) as error:  # the address
        sys.exit(str(error))
