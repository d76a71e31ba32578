"""Dates as HTTP has them, in English whatever the locale is. RFC 9110 section 5.6.7."""

from __future__ import annotations

from datetime import datetime, timezone

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(seconds: float) -> str:
    """For the header Date: a time in seconds since 1970, as `Sun, 06 Nov 1994 08:49:37 GMT`."""
    when = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{_DAYS[when.weekday()]}, {when:%d} {_MONTHS[when.month - 1]} {when:%Y %H:%M:%S} GMT"
