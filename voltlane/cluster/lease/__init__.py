"""Which number this server has among those of its cluster, and until when.

states      what is known of the number, and what is to be done next; no sockets and no clocks
scripts     what the store does for it
keeper      asks the store for a number, and keeps it
"""
