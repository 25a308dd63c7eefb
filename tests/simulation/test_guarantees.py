"""Every guarantee under a few schedules, and with calls cancelled here and there; `make simulate` has all of them."""

import pytest

from tests.simulation.guarantees import GUARANTEES, cancellations_of, cases_of
from tests.simulation.scenarios import Case, cases
from trio_mcp.testing import cancel_everywhere, explore

SEEDS = 4
PLACES = 4
CASES = cases()
CANCELLED = [pair for guarantee in GUARANTEES for pair in cancellations_of(guarantee)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_holds_under_many_schedules_and_networks(case: Case):
    assert explore(case.run, SEEDS, title=case.name, settling=True).runs == SEEDS


@pytest.mark.parametrize(("case", "tool"), CANCELLED, ids=lambda value: getattr(value, "name", value))
def test_it_holds_wherever_a_call_is_cancelled(case: Case, tool: str):
    assert cancel_everywhere(case.run, tool, title=case.name, most=PLACES).cuts > 2


def test_every_scenario_proves_a_guarantee_and_every_guarantee_has_one():
    proving = {name for guarantee in GUARANTEES for name in guarantee.scenarios}
    assert proving == {case.name.split()[0] for case in CASES}
    for guarantee in GUARANTEES:
        assert cases_of(guarantee) or cancellations_of(guarantee), guarantee.sentence
