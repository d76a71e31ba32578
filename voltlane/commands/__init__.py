"""What the command line can do, a file each. `cli` reads the arguments and calls one of them.

serve       the connection server; its configuration file, --check-config, --print-config
demo        the server with the echo backend as its child process
echo        the echo backend alone
connect     talk to a server from the terminal
console     what they share: messages for people
"""
