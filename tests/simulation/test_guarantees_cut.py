"""Every guarantee with cuts spread over each run; `make simulate` cuts at every place there is."""

import pytest

from tests.simulation.scenarios import Case, cases
from trio_mcp.testing import cut_everywhere

PLACES = 3


@pytest.mark.parametrize("case", [case for case in cases() if case.cut], ids=lambda case: case.name)
def test_it_holds_wherever_the_connection_is_cut(case: Case):
    report = cut_everywhere(case.run, title=case.name, most=PLACES)
    assert report.cuts == 3 * PLACES
