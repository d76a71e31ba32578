"""A benchmark that anybody can run: `make bench`, or `python -m bench --help`. See bench/README.md.

workloads   what is done, as one table               wires      the protocols, as bytes
servers     what it is done to, and `rivals/`        traffic    the packets, and how they are verified
generator   one workload on one server, measured     clients    the process that plays the clients
scaling     how the cost grows                       backend    the process that plays the master
report      table and JSON                           board      memory that these processes share
chart       SVG                                      machine    what /proc tells
scale       what a million clients would take
siege/      good clients beside attackers            observed   a server that says what it counts
soak/       clients that come and go for minutes     echo       a backend that sends everything back
"""
