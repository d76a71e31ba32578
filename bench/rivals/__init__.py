"""The same job done with what people would use instead: many clients in, one tagged stream to a backend out.

Each is a program, `python -m bench.rivals.NAME LISTEN_PORT MASTER_PORT`, written as its library's documentation would
have it: without cryptography, resuming, limits or a second attempt to reach the backend. `nchan` does
another job: what it is told once goes to all clients. Those of `_datagrams` are beside Voltlane's plain relay.
"""
