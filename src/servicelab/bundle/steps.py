"""A step of the build: a folder in the cache whose name says what it was made of."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from servicelab.cache import cache_root

if TYPE_CHECKING:
    from servicelab.bundle.bench import Bench

KEY_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is built, addressed by its content.

    Attributes:
        name: what it makes, such as "kubelet".
        key: a short hash over everything that decides the result.
        needs: the steps whose results it uses.
        build: makes the result in the bench's folder.
        disk: MiB that it adds to the disk, caches of its tools included.
        root: whether only root can build it.
    """

    name: str
    key: str
    needs: tuple[Step, ...] = field(repr=False)
    build: Callable[[Bench], None] = field(repr=False, compare=False)
    disk: int = field(repr=False)
    root: bool = field(repr=False, default=True)

    @property
    def folder(self) -> Path:
        """Where the result is, or will be."""
        return bundle_root() / f"{self.name}-{self.key}"

    @property
    def is_built(self) -> bool:
        """Whether the result is there, whole: a folder gets this name only then."""
        return self.folder.is_dir()

    def __str__(self) -> str:
        return self.name


def bundle_root() -> Path:
    """The cache folder of all steps."""
    return cache_root() / "bundle"


def make_step(
    name: str,
    build: Callable[[Bench], None],
    *,
    facts: Mapping[str, object],
    files: Iterable[Path] = (),
    needs: Iterable[Step] = (),
    disk: int,
    recipe: int = 1,
    root: bool = True,
) -> Step:
    """A step whose key covers the facts, the files' content and the steps it needs.

    Args:
        name: what it makes.
        build: makes it.
        facts: pins, package lists, flags: whatever decides the result; must go into JSON.
        files: inputs that are read, by content and name.
        needs: the steps whose results it uses.
        disk: MiB that it adds to the disk.
        recipe: raised when `build` changes what it makes of the same inputs.
        root: whether only root can build it: a root file system has root's files.
    """
    requirements = tuple(needs)
    made_of = {
        "name": name,
        "recipe": recipe,
        "machine": platform.machine(),
        "facts": facts,
        "files": [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files],
        "needs": [(step.name, step.key) for step in requirements],
    }
    text = json.dumps(made_of, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]
    return Step(name, key, requirements, build, disk, root)


def missing(wanted: Iterable[Step]) -> list[Step]:
    """What must be built to have these, each after what it needs.

    What a finished step needed is not looked at: its own result is all that is used.
    """
    order: list[Step] = []

    def visit(step: Step) -> None:
        if step.is_built or step in order:
            return
        for need in step.needs:
            visit(need)
        order.append(step)

    for step in wanted:
        visit(step)
    return order
