"""What the command line can do, a file each. `cli` reads the arguments and calls one of them.

serve       the connection server; its configuration file, --check-config, --print-config
demo        the server with the echo backend as its child process
echo        the echo backend alone
connect     talk to a server from the terminal
status      what a running server says of itself, once
top         the same, again and again
key         the server's public key in a state directory, and its replacement
inquiry     asking a server's admin endpoint, for status and top
report      what they show
console     what all share: messages for people
"""
