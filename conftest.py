"""Points the plugin at the cluster that the labs run on."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def kind_config() -> Path:
    """One control plane and two workers, unless --kind-config names another file."""
    return Path(__file__).with_name("kind-config.yaml")
