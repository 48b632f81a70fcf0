"""The node's containerd store, filled with images before any node starts."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from servicelab.bundle.archive import Image, write_image
from servicelab.bundle.bench import Bench, end
from servicelab.bundle.confine import OWN_MOUNTS
from servicelab.errors import InfrastructureError
from servicelab.pins import pins
from servicelab.verdict import deadlines
from servicelab.verdict.message import NotProved
from servicelab.verdict.waiting import eventually

STORE = "var/lib/containerd"
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"
BLOBS = "io.containerd.content.v1.content/blobs"
# kind makes /var a volume and Docker copies what the image has there, for each node anew: so
# what is large stands outside, and links lead to it.
OUTSIDE_VAR = "opt/servicelab/containerd"
SWEPT = "servicelab.local/swept:1"
STOP_TIMEOUT_S = 30.0

CONFIGURATION = """version = 3
root = "{root}"
state = "{state}"
disabled_plugins = [
  "io.containerd.cri.v1.images",
  "io.containerd.cri.v1.runtime",
  "io.containerd.grpc.v1.cri",
  "io.containerd.nri.v1.nri",
]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
"""


def preload(bench: Bench, root: Path, images: Sequence[Image], archives: Sequence[Path]) -> None:
    """Import images, unpacked, into the containerd store of a root file system.

    Args:
        bench: whose results include containerd and ctr.
        root: the root file system.
        images: images to write and import.
        archives: docker-archives to import.

    Raises:
        InfrastructureError: containerd does not start or refuses an image.
    """
    store = root / STORE
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True)
    with _containerd(bench, store) as ctr:
        for archive in archives:
            bench.run(*ctr, *_IMPORT, archive)
        for image in images:
            file = bench.scratch / "image.tar"
            write_image(image, file)
            bench.run(*ctr, *_IMPORT, file)
            file.unlink()
        # Removing an image in step with containerd's garbage collection lets it run now: the
        # unpacked layers' archives go.
        bench.run(*ctr, "images", "tag", pins().probe_image, SWEPT)
        bench.run(*ctr, "images", "rm", "--sync", SWEPT)
    _move_out_of_var(store, root)


_IMPORT = ("images", "import", "--local", "--discard-unpacked-layers")


@contextmanager
def _containerd(bench: Bench, store: Path) -> Iterator[list[str]]:
    """Run containerd on the store; gives the ctr command that talks to it."""
    # Not in the cache: the path of a socket may have 107 characters only.
    with tempfile.TemporaryDirectory(prefix="servicelab-") as short:
        socket = Path(short, "c.sock")
        configuration = Path(short, "config.toml")
        configuration.write_text(
            CONFIGURATION.format(root=store, state=Path(short, "state"), socket=socket)
        )
        ctr = [str(bench.result("ctr") / "ctr"), "-a", str(socket), "-n", "k8s.io"]
        binary = bench.result("containerd") / "containerd"
        with _messages(bench).open("wb") as log:
            process = bench.start(
                *OWN_MOUNTS, binary, "--config", configuration, "--log-level", "warn",
                output=log.fileno(),
            )  # fmt: skip
        try:
            _wait_until_it_answers(bench, [*ctr, "version"])
            yield ctr
            # So that it closes its database.
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_TIMEOUT_S)
        finally:
            end(process)


def _messages(bench: Bench) -> Path:
    return bench.log.with_name(f"{bench.step.name}.containerd.log")


def _wait_until_it_answers(bench: Bench, question: list[str]) -> None:
    def ask() -> str:
        try:
            return bench.output(*question)
        except InfrastructureError as error:
            return error.problem

    try:
        eventually(
            ask,
            lambda said: "Server:" in said,
            deadline=deadlines.current().engine_started,
            expecting="containerd should answer on its socket",
        )
    except NotProved:
        raise InfrastructureError(
            "the containerd that unpacks the node's images did not start",
            remedy=f"its messages are in {_messages(bench)}",
        ) from None


def _move_out_of_var(store: Path, root: Path) -> None:
    outside = root / OUTSIDE_VAR
    (outside / "snapshots").mkdir(parents=True)
    for snapshot in (store / SNAPSHOTS).iterdir():
        (snapshot / "fs").rename(outside / "snapshots" / snapshot.name)
        (snapshot / "fs").symlink_to(f"/{OUTSIDE_VAR}/snapshots/{snapshot.name}")
    # File by file: what a running node is given later must be renamed into this folder, and that
    # does not work across the border of /var.
    (outside / "blobs").mkdir()
    for blob in [path for path in (store / BLOBS).rglob("*") if path.is_file()]:
        blob.rename(outside / "blobs" / blob.name)
        blob.symlink_to(f"/{OUTSIDE_VAR}/blobs/{blob.name}")
