from __future__ import annotations

from email.utils import formatdate

import pytest

from voltlane.wire.http1.dates import http_date

DAY = 86400


def test_the_example_of_the_rfc() -> None:
    assert http_date(784111777.9) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize("first", [0, 951696000, 1704067200, 4102444800], ids=["1970", "2000", "2024", "2100"])
def test_it_is_as_in_the_standard_library(first: int) -> None:
    for day in range(400):
        assert http_date(first + day * DAY + 1) == formatdate(first + day * DAY + 1, usegmt=True)
