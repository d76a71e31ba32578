"""Several processes that are one server: a parent that accepts, and workers that serve. See docs/architecture.md.

notes       what a parent and a worker say to each other
channel     the socket between them, which neither waits for
home        whose worker a client is
places      the connections of one worker, as the parent counts them
worker      one of them, as the parent sees it: started, and started again
crew        all of them
succession  others in their places, for an upgrade
arrivals    connections that wait for the worker that has their session, or for any
questions   asking several at once
accounts    figures of all of them, added up
datagrams   sockets for datagrams, one for each worker
parent      the parent, as a worker sees it
sibling     a process that is to follow a worker
claims      what a worker knows of where its connections come from
handles     whose openings of version 3 are, as the parent knows it
elsewhere   sessions at other workers, as a worker looks for them
share       what each has of the settings
directories each worker's part of the state directory
"""
