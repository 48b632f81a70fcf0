"""The bundle's images in a Docker Engine: put there once, found by the key in their tag."""

from __future__ import annotations

from pathlib import Path

from servicelab.bundle.builder import KEPT_RESULTS, locked
from servicelab.bundle.catalogue import Catalogue
from servicelab.engine import Engine
from servicelab.errors import InfrastructureError
from servicelab.pins import pins
from servicelab.progress import Progress

# A gigabyte through the engine's own unpacking, on a slow disk.
IMPORT_TIMEOUT_S = 900.0
# kind's nodes are started like this; the signal is how systemd is told to stop.
NODE_SETTINGS = (
    'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]',
    "ENV container=docker",
    "STOPSIGNAL SIGRTMIN+3",
)


def node_tag(steps: Catalogue) -> str:
    """The name of the node image of these steps: "kindest/node:v1.37.0-<key>"."""
    return f"{pins().images['node']}:{pins().kubernetes}-{steps.node.key}"


def probe_tag(steps: Catalogue) -> str:
    """The name of the probe image of these steps, which no other build has."""
    return f"{pins().probe_image}-{steps.probe.key}"


def in_engine(engine: Engine, image: str) -> bool:
    """Whether the engine has an image of that name."""
    done = engine.try_docker("image", "inspect", "--format", "{{.Id}}", image)
    if done.returncode and b"o such image" not in done.stderr:
        engine.docker("version")  # Says why the engine does not answer.
    return done.returncode == 0


def is_imported(engine: Engine, steps: Catalogue) -> bool:
    """Whether the engine has both images of these steps."""
    return in_engine(engine, node_tag(steps)) and in_engine(engine, probe_tag(steps))


def ensure_imported(engine: Engine, steps: Catalogue, progress: Progress) -> None:
    """Put both images of these steps, which are built, into the engine unless they are there.

    Raises:
        InfrastructureError: the engine refuses one.
    """
    if is_imported(engine, steps):
        return
    with locked(progress):
        node, probe = node_tag(steps), probe_tag(steps)
        if not in_engine(engine, probe):
            with progress.step("putting the probe image into the engine"):
                _load(engine, steps.probe.folder / "probe.tar", probe)
        if not in_engine(engine, node):
            with progress.step("putting the node image into the engine"):
                _import(engine, steps.node.folder / "node.tar", node)
        if engine.kind == "private":
            _remove_older(engine, node, probe)


def put_into(engine: Engine, steps: Catalogue) -> None:
    """Put both images of these steps, which are built, into an engine that has nothing.

    Raises:
        InfrastructureError: the engine refuses one.
    """
    _load(engine, steps.probe.folder / "probe.tar", probe_tag(steps))
    _import(engine, steps.node.folder / "node.tar", node_tag(steps))


def _load(engine: Engine, archive: Path, tag: str) -> None:
    engine.docker("load", "--quiet", "--input", str(archive), timeout=IMPORT_TIMEOUT_S)
    if not in_engine(engine, tag):
        raise InfrastructureError(
            f"the engine loaded {archive}, but has no image {tag}",
            remedy=f"delete {archive.parent} and run the same command again",
        )


def _import(engine: Engine, tar: Path, tag: str) -> None:
    changes = [part for setting in NODE_SETTINGS for part in ("--change", setting)]
    engine.docker("import", *changes, str(tar), tag, timeout=IMPORT_TIMEOUT_S)


def _remove_older(engine: Engine, *current: str) -> None:
    """Remove images of earlier keys but for the newest; those in use stay."""
    for tag in current:
        repository, version = tag.rsplit("-", 1)[0].split(":")
        listed = engine.docker(
            "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"{repository}:{version}-*"
        )
        # docker lists the newest first.
        older = [name for name in listed.split() if name not in current]
        for name in older[KEPT_RESULTS - 1 :]:
            engine.try_docker("image", "rm", name)
