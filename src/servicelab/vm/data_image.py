"""The disk image with a Docker Engine's data, so that a guest's engine has its images at once.

The data is what a Docker Engine itself makes of the images: one that runs for as long as that
takes, in namespaces of its own, so that neither the machine nor an engine on it notices.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from servicelab.bundle.bench import Bench, end
from servicelab.bundle.catalogue import catalogue
from servicelab.bundle.confine import OWN_PROCESSES
from servicelab.bundle.engine_images import put_into
from servicelab.bundle.steps import Step, make_step
from servicelab.engine import Engine
from servicelab.engine.addresses import CANDIDATE_POOLS
from servicelab.engine.daemon import dockerd_command, wait_until_it_answers
from servicelab.engine.layout import Layout
from servicelab.engine.packages import Programs, programs_folder, recipe_key
from servicelab.engine.private import private_engine

#: The image, in the folder of the step.
IMAGE = "data.ext4"
#: What it may grow to in a guest; the file has holes.
SIZE = "16G"
STOP_TIMEOUT_S = 30.0


def data_image_step() -> Step:
    """An ext4 file system with an engine's data, the node image and the probe image in it."""
    steps = catalogue()

    def build(bench: Bench) -> None:
        data = bench.scratch / "data"
        with _engine(bench, data) as engine:
            put_into(engine, steps)
        # No journal: what a guest writes there is thrown away.
        bench.run(
            "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", data,
            bench.folder / IMAGE, SIZE,
        )  # fmt: skip

    facts = {"engine": recipe_key(), "size": SIZE}
    return make_step("guest-data", build, facts=facts, needs=[steps.node, steps.probe], disk=3500)


@contextmanager
def _engine(bench: Bench, data: Path) -> Iterator[Engine]:
    """An engine that keeps images, and can run nothing: it has no network at all."""
    programs = Programs(programs_folder() / "root")
    # Not in the cache: the path of a socket may have 107 characters only.
    with tempfile.TemporaryDirectory(prefix="servicelab-") as short:
        where = _layout(data, Path(short), bench.log.with_name(f"{bench.step.name}.dockerd.log"))
        where.exec_root.mkdir(parents=True)
        data.mkdir()
        with where.log.open("wb") as log:
            process = bench.start(
                *OWN_PROCESSES, "--mount-proc", "--net",
                *dockerd_command(where, programs, CANDIDATE_POOLS[0]),
                "--iptables=false", "--ip6tables=false", "--ip-forward=false",
                env=programs.environment(),
                output=log.fileno(),
            )  # fmt: skip
        try:
            wait_until_it_answers(where, process)
            yield _client(where, programs)
            # So that it closes its databases; unshare, which started it, ends with it.
            for dockerd in psutil.Process(process.pid).children():
                dockerd.terminate()
            process.wait(STOP_TIMEOUT_S)
        finally:
            end(process)


def _layout(data: Path, run: Path, log: Path) -> Layout:
    return Layout(data=data, run=run, state=run / "state", lock=run / "lock", log=log, bin=run)


def _client(where: Layout, programs: Programs) -> Engine:
    return replace(private_engine(where), docker_binary=programs.root / "usr/bin/docker")
