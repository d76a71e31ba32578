"""The version, in the one place that packaging, the command line and the start-up log read it from."""

__version__ = "0.1.0"
RELEASED = "2026-11-27"
"""The day of this version. A clock that says less is wrong."""
