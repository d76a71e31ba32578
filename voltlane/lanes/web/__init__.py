"""Clients that come over HTTP: listeners of ws:// and wss://.

site           what these listeners serve, and to whom
pages          the page that they show, and its script
origins        whose pages may connect
request_stage  requests, until one asks for a WebSocket
heartbeat      pings, so that no proxy takes a quiet connection for a dead one

HTTP itself is in `wire/http1`, the frames of a WebSocket in `wire/websocket`, and how it carries messages in
`lanes/websocket`. Needs the extra `web` (h11).
"""
