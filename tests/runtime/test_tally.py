"""The counts of a host by themselves; what calls come to is shown in `tests/ops/test_metrics.py`."""

import pytest

from tests.runtime.kit import serving
from trio_mcp.runtime.tally import BOUNDS, OTHER, Histogram, Tally


def test_a_duration_falls_into_the_bucket_of_the_first_bound_that_is_not_below_it():
    histogram = Histogram()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.01, BOUNDS[-1], BOUNDS[-1] * 2):
        histogram.add(seconds)
    assert histogram.counts == [2, 1, *[0] * (len(BOUNDS) - 3), 1, 1]
    assert histogram.total == pytest.approx(BOUNDS[0] * 2.01 + BOUNDS[-1] * 3)


def test_a_method_that_is_none_is_other():
    tally = Tally(serving())
    for method in ("ping", "tools/call", "no/method", "x" * 1000):
        tally.instant(method, "refused")
    assert {name: row.outcomes for name, row in tally.methods.items()} == {
        "ping": {"refused": 1},
        "tools/call": {"refused": 1},
        OTHER: {"refused": 2},
    }
