"""What the command line can do, a file each. `cli` reads the arguments and calls one of them.

serve       the connection server; its configuration file, --check-config, --print-config
demo        the server with the echo backend as its child process
echo        the echo backend alone
connect     talk to a server from the terminal
status      what a running server says of itself, once
top         the same, again and again
inquiry     asking a server's admin endpoint, for these two
report      what they show
console     what all share: messages for people
"""
