"""Several machines as one: three nodes behind a balancer, one of them killed again and again, and every packet counted.

nodes    redis, HAProxy and the nodes, as processes
backend  the master of all nodes, which keeps the account of each client
store    what each script costs the redis
clients  those who send numbered packets, and go where the balancer sends them
"""
