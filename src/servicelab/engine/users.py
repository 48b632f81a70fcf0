"""Which processes use the private engine now: the last one out may stop it."""

from __future__ import annotations

import json
from pathlib import Path

from servicelab.host import ProcessIdentity, process_identity


def register(folder: Path) -> None:
    """Note that this process uses the engine; to be done while the engine's lock is held."""
    folder.mkdir(parents=True, exist_ok=True)
    identity = process_identity()
    (folder / str(identity.pid)).write_text(json.dumps(identity.to_dict()))


def release(folder: Path) -> None:
    """Note that this process needs the engine no more."""
    (folder / str(process_identity().pid)).unlink(missing_ok=True)


def live_users(folder: Path) -> list[ProcessIdentity]:
    """The registered processes that still run; what dead ones left is deleted."""
    found: list[ProcessIdentity] = []
    for path in sorted(folder.glob("*")):
        try:
            identity = ProcessIdentity(**json.loads(path.read_text()))
        except (ValueError, TypeError, FileNotFoundError):
            continue  # Half written by a process that died, or just deleted.
        if identity.is_alive():
            found.append(identity)
        else:
            path.unlink(missing_ok=True)
    return found
