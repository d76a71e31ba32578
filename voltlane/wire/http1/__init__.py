"""HTTP/1.1, the server's side: what requests and answers are, and a connection's bytes.

conversation  bytes in, requests out; answers in, bytes out
target        what a request is for
answers       what it is answered with
opening       a request that asks for a WebSocket instead
policy        what a browser may do for a page
"""
