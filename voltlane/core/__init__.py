"""Decisions. Nothing here touches a socket, a clock or a log: `now` is an argument, bytes to send go to a `Link`.

hub         where both directions meet
link        what the core needs of a client's connection
trunk       what the core and the lanes need of the master's side
delivery    what is known of a session's packets by number, and what a resume agrees on
openings    what openings of version 3 are known by
tombstones  what is remembered of sessions that have ended
session     identity, how it is proven, and backlog, which outlive a connection; the state table
registry    every session: ids, look-ups, stale ones in their order, the reaping
whereabouts sessions that are not here, where several processes or machines are one
ids         client ids that do not come back
protocols/  what messages mean: the handshake of each protocol
datagrams/  datagrams beside connections, and in their place: where clients are, who may become one
outbox      bytes on their way to one peer, and its limits
retention   the same where what was sent is kept until it is safe
coded       the same where frames are encoded when they are written
backlog     packets kept for a stale client
history     packets kept for one that acknowledges nothing
budget      one account of all memory that is queued anywhere
admission   who may come in
networks    addresses and networks
meter       what one client may send
bucket      a token bucket, for rates
timers      the timer wheel
timeouts    time limits that are the same for all
readiness   whether this server is of use to clients right now
counters    what happened, as numbers
histogram   values counted by size
timeline    the last quarter of an hour, for plots
"""
