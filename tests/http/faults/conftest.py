"""The marker of this folder: `-m "not stock"` leaves out what another server does."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "stock: asserts what hypercorn's own trio worker does")
