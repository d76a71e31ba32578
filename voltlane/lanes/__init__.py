"""How clients come in, and their connections from then on.

table             the lanes there are: scheme, framing, stages; and the data paths of their clients
lane              what a lane is
framing           what a framing is: how messages stand in the bytes of a lane
entry/            from the listening socket to the session
fairness/         that no client lives at the cost of another
connection        a client's connection that has a session, whatever its lane
prefix            the length prefix, and the connections that need no coding
coded             the connections of every other framing
records           the connections of version 3, whatever their framing
sealed            how their records go out
receipts          version 3: telling clients what is safe
windows           version 3: how much they may send ahead
websocket         the frames of a WebSocket, and their messages
websocket_path    the connections whose packets are these messages as they are
web/              HTTP in front of that: requests, pages and their origins, pings; events
udp/              datagrams, beside a connection or in its place
posts             packets that come in requests
quiet             reading those who say little, many at once
quiet_records     the same for version 3
quiet_websockets  the same over WebSocket
occasional        what these two are: readers that are asked only while there is somebody for them
moved             a connection as it goes from one process to another
relay             connections that stay here, while others have their sessions
partial           the received part of a message
clients           all connections: how they begin, and what is done to all of them
present           what may be seen of how clients are here
shared            what they share
connection_log    that they come and go: counted, told, logged
"""
