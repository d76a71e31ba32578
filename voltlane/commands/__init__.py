"""What the command line can do, a file each. `cli` reads the arguments and calls one of them.

serve       the connection server; its configuration file, --check-config, --print-config
successor   the program that follows it in place
first_process  what is left of the one that was started, where it must not end
upgrade     asking a running server for that
demo        the server with a backend as its child process, and the chat page
chat        that backend: a room for the page, an echo for everybody else
echo        the echo backend alone
connect     talk to a server from the terminal
status      what a running server says of itself, once
top         the same, again and again
key         the server's public key in a state directory, and its replacement
inquiry     asking a server's admin endpoint, for status and top
report      what they show
console     what all share: messages for people
"""
