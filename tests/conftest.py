"""What all tests of the harness share."""

from __future__ import annotations

pytest_plugins = ["pytester"]
