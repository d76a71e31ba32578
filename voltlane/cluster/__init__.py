"""More than one process.

handover/   one process goes on with all that another one has
redis/      the store that several machines have in common
"""
