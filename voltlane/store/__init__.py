"""What outlives the process: the server's key, the sessions, after a clean stop what waited (`general.state_dir`).

no_store       what a store is, and the one that keeps nothing
session_store  all of it, bound to the registry and the reactor
heir_store     the same, of a process that follows another one in place
opening        which of them the settings ask for
records        bytes ↔ records, and the head of a file of them
ledger         what a journal says, record by record: who there is, and how far ids were given out
directory      the directory: its lock, who may read its files, files replaced as a whole
keys           those that several processes share
keyfile        the server's secret
journal        the append-only file of the sessions: appending, syncing, writing it anew
backlogs       what waited at a clean stop, as a file
spool          what waited, from then until all of it is delivered
"""
