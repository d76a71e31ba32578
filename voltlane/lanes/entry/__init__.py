"""How a connection comes in, from the listening socket to its session."""
