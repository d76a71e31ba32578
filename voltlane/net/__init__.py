"""The only code that touches sockets and clocks.

poller      epoll, or whatever `selectors` has, behind one face: descriptors that became ready
reactor     the event loop: its phases, its timers, its two error hooks
stream      one non-blocking socket with its outbox
listener    accepting
dialer      connecting, again and again with backoff
sockets     addresses ↔ sockets
machine     how much memory there is
"""
