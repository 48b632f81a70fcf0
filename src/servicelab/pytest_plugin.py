"""The pytest plugin: wiring only."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    config.addinivalue_line("markers", "claim(id): the claim that this test proves")
    config.addinivalue_line("markers", "slow: takes more than a minute (left out by --no-slow)")
