"""The master's side.

trunk       what is on its way to the master, and outlives the connections to it
connection  one connection: the firehose downwards
firehose    keeping a master at the other end: connecting, connecting again, giving up
"""
