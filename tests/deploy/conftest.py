"""What the tests of deployment need of the system."""

import pytest

from tests.external import require


@pytest.fixture
def nginx() -> str:
    return require("nginx")
