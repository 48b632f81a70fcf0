"""The official images: pulled once, with one archive of what a node image does not have."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from servicelab.bundle import releases
from servicelab.bundle.bench import Bench
from servicelab.bundle.builder import build, locked, prune, sweep
from servicelab.bundle.bundle import Bundle
from servicelab.bundle.catalogue import probe_scripts
from servicelab.bundle.engine_images import in_engine
from servicelab.bundle.steps import Step, make_step
from servicelab.engine import Engine
from servicelab.errors import UsageError
from servicelab.pins import pins
from servicelab.progress import Progress

DOCKERFILE = Path(__file__).parent / "Dockerfile"
DNSPYTHON = "2.7.0"
PULL_TIMEOUT_S = 1800.0
# MiB: kind and kubectl; agnhost and the probe with Python, as an archive.
PROGRAMS_DISK = 80
ARCHIVE_DISK = 400


@dataclass(frozen=True, slots=True)
class Official:
    """The official images for one Kubernetes version in one engine.

    Attributes:
        engine: pulls them.
        kubernetes: such as "v1.37.0".
    """

    engine: Engine
    kubernetes: str

    @property
    def node_image(self) -> str:
        """The node image, with the digest that is pinned for its version, if one is."""
        tag = f"{pins().images['node']}:{self.kubernetes}"
        digest = pins().node_images.get(self.kubernetes)
        return f"{tag}@{digest}" if digest else tag

    @property
    def probe_image(self) -> str:
        """The probe image of these very scripts."""
        return f"{pins().probe_image}-{self._archive().key}"

    @property
    def is_complete(self) -> bool:
        """Whether everything is there, so that no network is needed."""
        built = all(step.is_built for step in self._steps())
        images = (self.node_image, self.probe_image)
        return built and all(in_engine(self.engine, image) for image in images)

    def ensure(self, reason: str, progress: Progress) -> Bundle:
        """Pull and download whatever is missing.

        Raises:
            InfrastructureError: something can't be had, or the disk is full.
        """
        if not self.is_complete:
            with locked(progress):
                self._complete(progress)
        kind, kubectl, archive = (step.folder for step in self._steps())
        return Bundle(
            "official",
            self.node_image,
            kind / "kind",
            kubectl / "kubectl",
            self.probe_image,
            archive / "images.tar",
            reason,
            self.kubernetes,
        )

    def _complete(self, progress: Progress) -> None:
        sweep()
        steps = [step for step in self._steps() if not step.is_built]
        archive = self._archive()
        if archive.is_built and not in_engine(self.engine, self.probe_image):
            # The archive is there, its images are not: another engine, or a cleaned one.
            with progress.step("putting the probe image into the engine"):
                file = archive.folder / "images.tar"
                self.engine.docker("load", "--input", str(file), timeout=PULL_TIMEOUT_S)
        if not in_engine(self.engine, self.node_image):
            with progress.step(f"pull {self.node_image.split('@')[0]}"):
                self.engine.docker("pull", "--quiet", self.node_image, timeout=PULL_TIMEOUT_S)
        for step in steps:
            with progress.step(step.name):
                build(step)
        prune(self._steps())

    def _steps(self) -> tuple[Step, Step, Step]:
        def kind(bench: Bench) -> None:
            releases.download_kind(pins().kind, bench.folder / "kind")

        def kubectl(bench: Bench) -> None:
            releases.download_kubectl(self.kubernetes, bench.folder / "kubectl")

        # A folder name ends with the key, so a version in it does no harm to `prune`.
        return (
            make_step("official-kind", kind, facts={"version": pins().kind}, disk=PROGRAMS_DISK),
            make_step(
                f"official-kubectl-{self.kubernetes}",
                kubectl,
                facts={"version": self.kubernetes},
                disk=PROGRAMS_DISK,
            ),
            self._archive(),
        )

    def _archive(self) -> Step:
        agnhost, probe = pins().agnhost_image, pins().probe_image

        def save(bench: Bench) -> None:
            tagged = f"{probe}-{bench.step.key}"
            scripts = bench.scratch / "scripts"
            scripts.mkdir()
            for path, name in probe_scripts():
                shutil.copyfile(path, scripts / Path(name).name)
            shutil.copyfile(DOCKERFILE, bench.scratch / "Dockerfile")
            self.engine.docker("pull", "--quiet", agnhost, timeout=PULL_TIMEOUT_S)
            self.engine.docker(
                "build", "--quiet", "--pull", f"--build-arg=DNSPYTHON={DNSPYTHON}",
                "--tag", probe, "--tag", tagged, str(bench.scratch),
                timeout=PULL_TIMEOUT_S,
            )  # fmt: skip
            # One archive, loaded once: `kind load docker-image` would save each image again.
            self.engine.docker(
                "save", "--output", str(bench.folder / "images.tar"), agnhost, probe, tagged,
                timeout=PULL_TIMEOUT_S,
            )  # fmt: skip

        return make_step(
            "official-images",
            save,
            facts={"agnhost": agnhost, "probe": probe, "dnspython": DNSPYTHON},
            files=[DOCKERFILE, *(path for path, _ in probe_scripts())],
            disk=ARCHIVE_DISK,
        )


def checked_version(version: str) -> str:
    """A Kubernetes version as image tags have it, "v1.36.4"; the "v" may be missing.

    Raises:
        UsageError: it is no version.
    """
    match = re.fullmatch(r"v?(\d+\.\d+\.\d+)", version.strip())
    if match is None:
        raise UsageError(
            f"the Kubernetes version {version!r} can't be read",
            remedy=f"write it like {pins().kubernetes}",
        )
    return f"v{match[1]}"
