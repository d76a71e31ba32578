"""Talking to those who run it: the log, and the service manager.

log       the log's set-up, and lines about peers
formats   what a line looks like: text or JSON
bounds    how fast the log may grow, and what could not be written
outlet    standard error, written to without waiting
unwritten telling of what could not be written once it can be
slow_log  lines about callbacks that held the loop up
watch     who else wants to hear of clients that come and go
notify    the service manager
certificate_log  what the log says of certificates
"""
