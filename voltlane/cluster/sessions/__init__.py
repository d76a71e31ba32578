"""Whose a session is, where several servers are one: it belongs to one of them at a time, under a term.

scripts     what the store does for it, each as one step
rows        what a session is in the store: values ↔ bytes
journal     what has become of our sessions is written there, the last of each, in batches
search      how a session is got that is not here: the table of it
finder      sessions that are not here: looked up, proven, and got
giver       sessions that somebody else wants: closed, written to the master, given up
entry       nobody is told of a session before the store has it
moved       what is remembered of sessions that are elsewhere
"""
