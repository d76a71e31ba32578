"""Thousands of clients that come, go, resume, flood and idle for minutes: `python -m bench.soak`, or `make soak`.

people   what one client does, and its account of every packet
town     all of them in one loop
run      the soak: a short life of the town to warm up, a long one, and what is left of it in the server
"""
