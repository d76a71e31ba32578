"""That no client lives at the cost of another.

turns     whose turn it is to be read
meter     what clients may send a second, and how long they may say nothing
pressure  clients that do not read
shed      what goes when there is no memory left
sampler   how good each client's link is, as the kernel knows it
client    what all of these know of a client
"""
