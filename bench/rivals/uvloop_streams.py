"""The same program as asyncio_streams, on uvloop."""

from __future__ import annotations

import sys

import uvloop

from .asyncio_streams import main

if __name__ == "__main__":
    uvloop.new_event_loop().run_until_complete(main(int(sys.argv[1]), int(sys.argv[2])))
