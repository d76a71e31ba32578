"""Good clients under siege: `python -m bench.siege`, or `make siege`.

attacks     what the attackers do, each a class
attackers   the process that does it
lanes       each lane from a client's side, and nonsense: what is wrong at each place of it
nobody      the same by datagrams, from everywhere
good        the clients that must notice nothing; datagrams: those that send such
run         one siege, measured: first in peace, then not
"""
