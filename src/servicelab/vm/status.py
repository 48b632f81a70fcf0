"""What there is of guests on this machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from servicelab.doctor.kernel import missing_for_ipvs
from servicelab.vm.parts import guest_steps
from servicelab.vm.record import live_records


@dataclass(frozen=True, slots=True)
class RunningGuest:
    """A guest that runs now.

    Attributes:
        command: what it runs.
        runner: the id of the process that started it.
        processor: the host's processor that it is pinned to.
    """

    command: str
    runner: int
    processor: int


@dataclass(frozen=True, slots=True)
class Status:
    """What there is of guests.

    Attributes:
        needed: this kernel has no ip_vs, so IPVS is tried in a guest.
        missing: names of what must be built first.
        guests: those that run.
    """

    needed: bool
    missing: tuple[str, ...]
    guests: tuple[RunningGuest, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        has = "lacks ip_vs, so IPVS is tried in a guest" if self.needed else "has ip_vs itself"
        built = f"to be built first: {', '.join(self.missing)}" if self.missing else "all built"
        lines = [f"kernel    this machine's {has}", f"parts     {built}"]
        lines += [
            f"guest     {each.command}, on processor {each.processor}, of process {each.runner}"
            for each in self.guests
        ]
        return "\n".join(lines if self.guests else [*lines, "guest     none runs"])


def status() -> Status:
    """Look; nothing is started or removed."""
    return Status(
        needed=bool(missing_for_ipvs()),
        missing=tuple(step.name for step in guest_steps() if not step.is_built),
        guests=tuple(
            RunningGuest(record.command, record.runner.pid, record.processor)
            for record in live_records()
        ),
    )
