"""Both ways that requests come: over any ASGI server, and over our own lane."""

import pytest


@pytest.fixture(params=[False, True], ids=["any ASGI server", "our lane"])
def lane(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
