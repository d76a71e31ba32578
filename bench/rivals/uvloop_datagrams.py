"""uvloop datagrams: the program of asyncio_datagrams on uvloop."""

from __future__ import annotations

import sys

import uvloop

from .asyncio_datagrams import main

if __name__ == "__main__":
    uvloop.install()
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
