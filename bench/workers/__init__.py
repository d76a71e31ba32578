"""What it costs to be several processes.

__main__      workers together beside one process alone: work per second of CPU time
concentrator  many firehoses into one, for a backend that takes one connection: as a tool here, and to be measured
accepting     one process that accepts and passes on, beside SO_REUSEPORT
"""
