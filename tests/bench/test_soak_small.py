"""A small soak: a few hundred connections of all manners leave nothing behind."""

import sys

import pytest

from tests.bench.soak import soak

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")


def test_connections_that_stall_vanish_half_close_and_send_garbage_leave_nothing_behind():
    outcome = soak(320, rounds=1, warm_up=480)
    assert not outcome.wrong, outcome.table()
    assert outcome.after.exact == outcome.before.exact
