"""How a connection comes in, from the listening socket to its session.

entrance      the listening sockets
gate          who is let in
arrival       connections without a session, and their deadlines
stage         what a stage of them is
doors         what stages go by: what this server's listeners have to offer
proxies       what follows from what proxies say
proxy_header  the stage in which a proxy says whose connection it is
moved         a connection in its handshake as it goes from one process to another
tls           the stage in which a connection is encrypted
handshake     the last one: the protocol's handshake
"""
