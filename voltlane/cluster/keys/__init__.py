"""What the servers of a cluster have in common and the store must not know.

secret        `cluster.secret`, and what is sealed with it
server_keys   the servers' keys of version 2 and 3: the first server's are everybody's
"""
