"""Clients that come over HTTP: listeners of ws:// and wss://.

site              what these listeners serve, and to whom
pages             the page that they show, and its script
origins           whose pages may connect
request_stage     requests, until one asks for a WebSocket or for events
event_routes      the requests of clients that are sent events
event_stream      their framing: how packets go down
event_connection  their connections: what is retained for them
uplink            what their way up needs of the server
heartbeat         pings, so that no proxy takes a quiet connection for a dead one

HTTP itself is in `wire/http1`, the frames of a WebSocket in `wire/websocket`, and how it carries messages in
`lanes/websocket`. Needs the extra `web` (h11).
"""
