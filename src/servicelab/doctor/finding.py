"""What the doctor finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "note", "warn", "error"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warn", "error")


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about this machine, and what to do about it.

    Attributes:
        name: what was looked at.
        level: "ok"; "note" for a limit that servicelab works around or a lab skips; "warn" for
            what may go wrong; "error" for what stops every lab.
        seen: what was found.
        remedy: what the user can do; "" if nothing needs doing.
    """

    name: str
    level: Level
    seen: str
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
