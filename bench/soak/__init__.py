"""Thousands of clients that come, go, resume, flood and idle for minutes: `python -m bench.soak`, or `make soak`.

people   what one client does, and its account of every packet
town     all of them in one loop
run      the soak: a short life of the town to warm up, a long one, and what is left of it in the server

Of version 3 (`--protocol 3`), where nothing may be lost:

packets  what every packet says of itself
cuts     how a connection ends
passage  one connection, up to its cut
voyager  a client: its session over any number of connections, and its account of every packet
master   the other end of that account
storm    all of them in one loop
lossless the soak: as above; with kills the server's lives as well
"""
