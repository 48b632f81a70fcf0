"""What is known about the private engine between commands: who it is, who started it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from servicelab.host import ProcessIdentity

StartedBy = Literal["user", "run"]


@dataclass(frozen=True, slots=True)
class HostChanges:
    """What the engine's start changed on the host, so that its stop can undo exactly that.

    Attributes:
        routes: the unreachable routes that were added.
        chains: iptables chains that existed before, as "family/table/chain".
        policies: the FORWARD policy before, by family ("4", "6").
        sysctls: kernel settings before, by path below /proc/sys.
        backend: which iptables was used, "nft" or "legacy".
    """

    routes: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    policies: dict[str, str] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)
    backend: str = "nft"


@dataclass(frozen=True, slots=True)
class EngineState:
    """The private engine as its start left it.

    Attributes:
        pool: the addresses its networks are taken from.
        started_by: "user" by `servicelab engine start`, "run" by what needed an engine.
        changes: what the start changed on the host.
        dockerd: the daemon; None until it was started.
        containerd: the daemon's own containerd; None until it is known.
    """

    pool: str
    started_by: StartedBy
    changes: HostChanges
    dockerd: ProcessIdentity | None = None
    containerd: ProcessIdentity | None = None

    @property
    def is_alive(self) -> bool:
        """Whether this very daemon still runs."""
        return self.dockerd is not None and self.dockerd.is_alive()

    def owned_by_user(self) -> EngineState:
        """The same engine, to stay until the user stops it."""
        return replace(self, started_by="user")


def read_state(path: Path) -> EngineState | None:
    """The state that was written last; None if there is none, or it can't be understood."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        changes = data["changes"]
        return EngineState(
            pool=data["pool"],
            started_by=data["started_by"],
            changes=HostChanges(
                routes=tuple(changes["routes"]),
                chains=tuple(changes["chains"]),
                policies=dict(changes["policies"]),
                sysctls=dict(changes["sysctls"]),
                backend=changes["backend"],
            ),
            dockerd=_identity(data["dockerd"]),
            containerd=_identity(data["containerd"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        # Written by another version, or cut short by a full disk.
        return None


def write_state(path: Path, state: EngineState) -> None:
    """Replace the state file as a whole, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(state), indent=1) + "\n")
    fresh.replace(path)


def _identity(data: dict[str, Any] | None) -> ProcessIdentity | None:
    return ProcessIdentity(**data) if data else None
