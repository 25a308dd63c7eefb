"""What several files here look at."""

import logging
from collections.abc import Callable

import pytest


@pytest.fixture
def traceback_count(caplog: pytest.LogCaptureFixture) -> Callable[[], int]:
    """How many tracebacks the log has."""
    caplog.set_level(logging.DEBUG, "trio_mcp")
    return lambda: sum(record.exc_info is not None for record in caplog.records)
