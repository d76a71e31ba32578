"""Clients that never read, clients that are away, and a backend that sends to all of them: `python -m bench.starve`.

hungry      the process of those clients
feeder      the backend: it echoes to the good, and sends to the hungry flat out
run         one run, measured, in a server whose address space is limited
"""
