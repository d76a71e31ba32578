"""More than one process.

handover/   one process goes on with all that another one has
workers/    several processes are one server
keys/       what the servers of a cluster have in common, and the store must not know
lease/      which number a server has, and until when
redis/      the store that several machines have in common
sessions/   whose a session is, and how it gets from one to another
node        this server as one of several: all of that together
moved       the same as it goes from one process to another
"""
