"""Datagrams, each a packet of who has its address: Voltlane's plain relay beside a C program and other relays.

`python -m bench.udp`, or `make bench-udp`; bench/README.md has the rest. relay.c is what the bars are in, load.c the
clients and the backend; both are compiled when the benchmark starts.
"""
