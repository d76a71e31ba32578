"""Datagrams: the lane that is no stream.

lane        all the sockets of a server, and what both modes have in common
port        one of the sockets
sessions    sealed datagrams beside clients' connections; channel: one client's
relay       each address is a client; peer: one of them, a link of the core's
gate        which strangers may become one
moved       what of all that goes from one process to another
"""
