"""The only code that touches sockets and clocks.

reactor         the event loop: its phases, its timers, its two error hooks
poller          epoll, or whatever `selectors` has, behind one face: descriptors that became ready
stream          one non-blocking socket with its outbox
listener        accepting
dialer          connecting, again and again with backoff
activation      listening sockets that were opened for us
wakeup          waking the loop from outside: signals, other threads
sockets         addresses ↔ sockets
joint           a pair of sockets in the place of one connection
tls             a TLS connection that looks like a socket
certificates    what a server shows there
openssl         what both stand on, if it is there
peers           who is at the other end
stall           whether a peer takes anything of what waits for it
tcpinfo         what the kernel knows of a connection
loop_metrics    how the loop keeps up
slow_callbacks  which callback held it up
deadlines       deadlines for the two libraries
udp             datagrams by the batch
memory          memory to receive into
machine         how much memory there is, and whether the machine was started again
"""
