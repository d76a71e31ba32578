"""Several processes that are one server: a parent that accepts, and workers that serve. See docs/architecture.md.

handles     whose openings of version 3 are, as the parent knows it
elsewhere   sessions at other workers, as a worker looks for them
"""
