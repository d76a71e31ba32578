"""What an upgrade in place costs: every client keeps its connection, and how long nobody is served.

clients   those who send numbered packets, and those who have half a frame on its way and do not read
sockets   what stands between a client and its socket: a WebSocket, a dam
"""
