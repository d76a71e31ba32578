"""A Redis or Valkey server, spoken to on the reactor: nothing here waits, and nothing raises for a store in trouble.

options       where it is, as whom, and whom to trust; that the extra `cluster` is there
resp          commands and answers as bytes; what an answer that is none says (Trouble)
script        a Lua script, and how it is asked for
connection    one connection: TLS, the greeting, answers as they come
line          one connection after the other, with waits in between
link          commands, each with who gets its answer; deadlines; whether the store is of use
channels      messages: a connection of its own
"""
