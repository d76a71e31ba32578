"""Datagrams beside connections: where clients are, and who may become one. Pure: times are arguments.

side        what the hub knows of them
path        at which address a client is: challenged, validated, roaming
strangers   how many that nobody knows may become clients, in a table of fixed size
cookies     by which a stranger shows that it is where it says, with nothing kept of it
"""
