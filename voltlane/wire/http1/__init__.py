"""HTTP/1.1: what requests and answers are, and a connection's bytes. The server's side, but for `upgrade`.

conversation  bytes in, requests out; answers in, bytes out
target        what a request is for
answers       what it is answered with
dates         when that was
opening       a request that asks for a WebSocket instead
forwarded     whose request it is, as proxies say
upgrade       the same as its client asks it, and what it is answered
policy        what a browser may do for a page
"""
