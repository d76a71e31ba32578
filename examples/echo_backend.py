"""The smallest backend: what a client sends comes back to it.

python voltlane.py --master 127.0.0.1:42001        the connection server
python examples/echo_backend.py                    this
python voltlane.py connect 127.0.0.1:42000         a client
"""

import argparse
import sys
from pathlib import Path

try:
    import voltlane  # noqa: F401
except ImportError:  # run from a checkout
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from voltlane.backend import Firehose
from voltlane.errors import ConfigError, StartupError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", default="127.0.0.1:42001", help="where to listen (default: %(default)s)")
    with Firehose(parser.parse_args().address) as firehose:
        print(f"connection servers connect to {firehose.address}", flush=True)
        for packet in firehose:
            if packet.is_data:
                packet.reply(packet.data)
            elif packet.is_failure:
                print(f"client {packet.client_id} is gone: {packet.reason}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except (ConfigError, StartupError) as error:  # the address
        sys.exit(str(error))
