"""What the cache holds."""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from servicelab.bundle.steps import KEY_LENGTH, bundle_root


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One result in the cache.

    Attributes:
        name: what it is.
        key: the hash over what it was made of.
        size: bytes on the disk.
        built: when, in seconds since the epoch.
    """

    name: str
    key: str
    size: int
    built: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.built))
        return f"{self.name:28} {self.key}  {self.size / 1e6:8.1f} MB  {when}"


def list_images() -> list[ImageEntry]:
    """Every image, program and root file system in the cache, by name, the newest first."""
    entries = []
    for folder in bundle_root().glob("*-*"):
        match = re.fullmatch(rf"(.+)-([0-9a-f]{{{KEY_LENGTH}}})", folder.name)
        if match and folder.is_dir():
            built = folder.stat().st_mtime
            entries.append(ImageEntry(match[1], match[2], _size(folder), built))
    return sorted(entries, key=lambda entry: (entry.name, -entry.built))


def _size(folder: Path) -> int:
    """Bytes that the files in a folder take, each counted once; the holes of a disk image none."""
    found = (path.lstat() for path in folder.rglob("*"))
    files = {(stat.st_dev, stat.st_ino): stat.st_blocks * 512 for stat in found}
    return sum(files.values())
