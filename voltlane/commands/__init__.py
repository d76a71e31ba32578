"""What the command line can do, a file each. `cli` reads the arguments and calls one of them.

serve       the connection server; its configuration file, --print-config
check       --check-config: whether it would start
workers     the same as several processes
successor   the program that follows it in place
first_process  what is left of the one that was started, where it must not end
upgrade     asking a running server for that
demo        the server with a backend as its child process, and the chat page
chat        that backend: a room for the page, an echo for everybody else
echo        the echo backend alone
connect     talk to a server from the terminal
suspense    saying meanwhile why nothing happens
status      what a running server says of itself, once
top         the same, again and again
fleet       of several servers at once
drain       having its clients go elsewhere
key         the server's public key in a state directory, and its replacement
inquiry     asking a server's admin endpoint, for status, top and drain
report      what they show
tints       which of its words stand out
init        a configuration file to begin with
explain     what settings there are, and what one is
completion  a script with which a shell completes the command line
manual      the manual page
outline     the command line as values, for these two
console     what all share: messages for people
"""
