"""What a guest is made of besides the host's files: its kernel, and an image with Docker's data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from servicelab.bundle.builder import ensure_built
from servicelab.bundle.catalogue import catalogue
from servicelab.bundle.extras import extra_steps
from servicelab.bundle.guestkernel import KERNEL, MODULES, guest_kernel_step
from servicelab.bundle.steps import Step
from servicelab.engine.packages import ensure_programs
from servicelab.errors import InfrastructureError
from servicelab.progress import Progress
from servicelab.vm.data_image import IMAGE, data_image_step


@dataclass(frozen=True, slots=True)
class Parts:
    """Files of the cache that a guest is started with.

    Attributes:
        kernel: the kernel's binary.
        modules: the list of what it has built in, for /lib/modules/RELEASE.
        data: the image with Docker's data.
    """

    kernel: Path
    modules: Path
    data: Path


def guest_steps() -> tuple[Step, ...]:
    """What is built for a guest, and what a cluster in it is made of."""
    return (guest_kernel_step(), *catalogue().final, data_image_step())


def ensure_parts(progress: Progress, *, extras: bool = False) -> Parts:
    """Build what is missing, on the host: a guest has no network.

    Args:
        progress: where the steps are reported.
        extras: what only some labs use as well.

    Raises:
        InfrastructureError: something can't be built.
    """
    if os.geteuid() != 0:
        raise InfrastructureError(
            "a guest needs root: its files are the host's, and a private engine runs in it",
            remedy="run the same command as root",
        )
    ensure_programs(progress)
    steps = guest_steps()
    ensure_built((*steps, *(extra_steps() if extras else ())), progress)
    kernel, data = steps[0].folder, steps[-1].folder
    return Parts(kernel / KERNEL, kernel / MODULES, data / IMAGE)
