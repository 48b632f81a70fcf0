"""Where servicelab keeps what outlives a run: built images, binaries, leases, logs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """$SERVICELAB_CACHE, else $XDG_CACHE_HOME/servicelab, else ~/.cache/servicelab."""
    if chosen := os.environ.get("SERVICELAB_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "servicelab"


def state_root() -> Path:
    """What is running now and who owns it (engine, cluster leases); below the cache folder."""
    return cache_root() / "state"
