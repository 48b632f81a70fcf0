"""What only some labs use: images, a manifest and a program, each made when first asked for.

A node image has none of it. Each image is a docker-archive of its own, which a node, an engine or
a registry can be given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from servicelab.bundle.archive import PATH, Image, write_image
from servicelab.bundle.bench import Bench
from servicelab.bundle.builder import ensure_built, locked
from servicelab.bundle.bundle import Bundle
from servicelab.bundle.catalogue import REGISTRY, probe_image_step
from servicelab.bundle.engine_images import IMPORT_TIMEOUT_S, in_engine
from servicelab.bundle.gomodules import command_steps, metallb_manifest_step
from servicelab.bundle.grader import grader_image, grader_image_step
from servicelab.bundle.steps import Step, make_step
from servicelab.engine import Engine
from servicelab.errors import UsageError
from servicelab.pins import pins
from servicelab.progress import Progress

REGISTRY_CONFIGURATION = Path(__file__).parent / "registry.yml"
PULL_TIMEOUT_S = 1800.0
#: An image's archive, in the folder of its step.
ARCHIVE = "image.tar"
#: What our own builds are called in an engine: another `registry:3` may be there already.
OURS = "servicelab.local"


@dataclass(frozen=True, slots=True)
class Extras:
    """What only some labs use, from where the cluster's images come from.

    Nothing is built or pulled before it is asked for. What no project publishes as an image or a
    file with a sum (GoBGP, crane, MetalLB's manifest) comes from its Go module in any case.

    Attributes:
        engine: pulls the official images, and gets those that are run beside a cluster.
        bundle: the cluster's.
        progress: where the steps are reported.
    """

    engine: Engine
    bundle: Bundle
    progress: Progress

    def archive(self, image: str) -> Path:
        """A docker-archive of one image that the labs' manifests name.

        Args:
            image: such as "quay.io/metallb/speaker:v0.15.3"; see `offered_images`.

        Raises:
            UsageError: there is no such image.
            InfrastructureError: it can't be built or pulled.
        """
        if image not in offered_images():
            raise UsageError(
                f"the bundle has no image {image}", remedy=f"it has {', '.join(offered_images())}"
            )
        if image == grader_image():
            return self._built(grader_image_step()) / ARCHIVE
        if self._official:
            return self._built(self._pulled_step(image)) / ARCHIVE
        if image == pins().probe_image:
            return self._built(probe_image_step()) / "probe.tar"
        return self._built(image_steps()[image]) / ARCHIVE

    def registry_image(self) -> str:
        """The name of the registry image (`registry:3`), which the engine then has."""
        if not self._official:
            return self._in_engine(registry_image_step())
        name = pins().images["registry"]
        if not in_engine(self.engine, name):
            with locked(self.progress), self.progress.step(f"pull {name}"):
                self.engine.docker("pull", "--quiet", name, timeout=PULL_TIMEOUT_S)
        return name

    def name_server_image(self) -> str:
        """The name of an image that runs CoreDNS, which the engine then has."""
        if not self._official:
            return self._in_engine(name_server_image_step())
        name = f"{REGISTRY}/coredns/coredns:{pins().coredns}"
        if not in_engine(self.engine, name):
            with locked(self.progress), self.progress.step(f"pull {name}"):
                self.engine.docker("pull", "--quiet", name, timeout=PULL_TIMEOUT_S)
        return name

    def gobgp_image(self) -> str:
        """The name of an image with gobgpd and gobgp on its PATH, which the engine then has."""
        return self._in_engine(gobgp_image_step())

    def crane(self) -> Path:
        """The crane binary, which copies images between files and registries."""
        return self._built(command_steps()["crane"]) / "crane"

    def metallb_manifest(self) -> Path:
        """MetalLB's native manifest as the project publishes it."""
        return self._built(metallb_manifest_step()) / "metallb-native.yaml"

    def ensure_all(self) -> None:
        """Build or pull all of it at once."""
        if self._official:
            for image in image_names():
                self.archive(image)
            self.registry_image()
        self.name_server_image()
        ensure_built(extra_steps(official=self._official), self.progress)
        self.gobgp_image()

    @property
    def _official(self) -> bool:
        return self.bundle.source == "official"

    def _built(self, step: Step) -> Path:
        ensure_built([step], self.progress)
        return step.folder

    def _in_engine(self, step: Step) -> str:
        """Give the engine an image that is built here; its name carries the step's key."""
        name = engine_name(step)
        if not in_engine(self.engine, name):
            archive = self._built(step) / ARCHIVE
            with locked(self.progress), self.progress.step(f"putting {name} into the engine"):
                self.engine.docker(
                    "load", "--quiet", "--input", str(archive), timeout=IMPORT_TIMEOUT_S
                )
        return name

    def _pulled_step(self, image: str) -> Step:
        def save(bench: Bench) -> None:
            # The probe image is nobody's to pull: it was built beside the node image.
            if image != pins().probe_image:
                self.engine.docker("pull", "--quiet", image, timeout=PULL_TIMEOUT_S)
            self.engine.docker(
                "save", "--output", str(bench.folder / ARCHIVE), image, timeout=PULL_TIMEOUT_S
            )

        facts = {"image": image}
        if image == pins().probe_image:
            facts["build"] = self.bundle.probe_image
        name = f"official-{image.rsplit(':', 1)[0].replace('/', '-')}"
        return make_step(name, save, facts=facts, disk=200, root=False)


def image_names() -> tuple[str, ...]:
    """Every image that the labs' manifests name, as they name it."""
    return (pins().agnhost_image, pins().probe_image, *pins().metallb_images)


def offered_images() -> tuple[str, ...]:
    """Every image that a registry can be given: the labs', and the one that grades in a cluster."""
    return (*image_names(), grader_image())


def image_steps() -> dict[str, Step]:
    """The archives that are built here, by the image's name; the probe's is the catalogue's."""
    controller, speaker = pins().metallb_images
    agnhost = Image((pins().agnhost_image,), (), entrypoint=("/agnhost",), command=("pause",))
    return {
        agnhost.names[0]: _program_image("agnhost", agnhost),
        controller: _program_image(
            "metallb-controller", Image((controller,), (), entrypoint=("/controller",))
        ),
        speaker: _program_image("metallb-speaker", Image((speaker,), (), entrypoint=("/speaker",))),
    }


def registry_image_step() -> Step:
    """A registry that serves on port 5000, with the official image's paths."""
    configuration = "etc/distribution/config.yml"
    return _engine_image(
        "registry",
        pins().distribution,
        {"registry": "bin/registry"},
        files=[(REGISTRY_CONFIGURATION, configuration)],
        entrypoint=("registry",),
        command=("serve", f"/{configuration}"),
        # Without it the registry looks for a collector of traces.
        environment=("OTEL_TRACES_EXPORTER=none",),
    )


def name_server_image_step() -> Step:
    """CoreDNS as a name server beside a cluster: the program that the clusters run inside."""
    return _engine_image(
        "coredns", pins().coredns, {"coredns": "coredns"}, entrypoint=("/coredns",)
    )


def gobgp_image_step() -> Step:
    """gobgpd, and gobgp to ask it."""
    return _engine_image(
        "gobgp",
        pins().gobgp,
        {"gobgpd": "usr/local/bin/gobgpd", "gobgp": "usr/local/bin/gobgp"},
        entrypoint=("gobgpd",),
    )


def extra_steps(*, official: bool = False) -> tuple[Step, ...]:
    """All that is built here, in the order of building.

    Args:
        official: only what there is no official image of.
    """
    images = (
        ()
        if official
        else (
            *image_steps().values(),
            registry_image_step(),
            name_server_image_step(),
        )
    )
    return (*images, gobgp_image_step(), command_steps()["crane"], metallb_manifest_step())


def engine_name(step: Step) -> str:
    """The name in an engine of an image that is run beside a cluster."""
    return f"{OURS}/{step.name.removesuffix('-image')}:{step.key}"


def _program_image(program: str, image: Image) -> Step:
    """An image of one program, which is its entrypoint."""
    binary = command_steps()[program]
    target = image.entrypoint[0].removeprefix("/")

    def build(bench: Bench) -> None:
        content = ((bench.result(program) / program, target),)
        whole = Image(image.names, content, image.entrypoint, image.command, image.environment)
        write_image(whole, bench.folder / ARCHIVE)

    facts = {"names": image.names, "entrypoint": image.entrypoint, "command": image.command}
    return make_step(f"{program}-image", build, facts=facts, needs=[binary], disk=100, root=False)


def _engine_image(
    name: str,
    version: str,
    programs: dict[str, str],
    *,
    files: Sequence[tuple[Path, str]] = (),
    entrypoint: tuple[str, ...],
    command: tuple[str, ...] = (),
    environment: tuple[str, ...] = (),
) -> Step:
    """An image that is run beside a cluster; its only name in an engine carries its key."""
    binaries = [command_steps()[program] for program in programs]

    def build(bench: Bench) -> None:
        content = tuple((bench.result(each) / each, path) for each, path in programs.items())
        image = Image(
            (engine_name(bench.step),),
            (*content, *files),
            entrypoint,
            command,
            (PATH, *environment),
        )
        write_image(image, bench.folder / ARCHIVE)

    facts = {
        "version": version,
        "paths": programs,
        "entrypoint": entrypoint,
        "command": command,
        "environment": environment,
    }
    return make_step(
        f"{name}-image",
        build,
        facts=facts,
        files=[path for path, _ in files],
        needs=binaries,
        disk=100,
        root=False,
    )
