"""Decisions. Nothing here touches a socket, a clock or a log: `now` is an argument, bytes to send go to a `Link`.

timers      the timer wheel
timeouts    time limits that are the same for all
bucket      a token bucket, for rates
budget      one account of all memory that is queued anywhere
outbox      bytes on their way to one peer, and its limits
backlog     packets kept for a stale client
session     identity, key and backlog, which outlive a connection; the state table
registry    every session: ids, look-ups, stale ones in their order, the reaping
handshake   the server's side of a new session and of a resume, as a table
hub         where both directions meet
counters    what happened, as numbers
"""
