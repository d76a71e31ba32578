"""More than one process.

handover/   one process goes on with all that another one has
workers/    several processes are one server
"""
