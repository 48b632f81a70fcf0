"""Pushing images to a registry, under the names that a rewritten manifest gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from servicelab.errors import UsageError
from servicelab.manifests import ImageReference, checked_registry
from servicelab.progress import Progress
from servicelab.registry.crane import Crane


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image that is in the registry now.

    Attributes:
        image: its name there, with its tag.
        digest: "sha256:…" of its manifest there.
        was_there: it was there before, the same to the byte.
    """

    image: str
    digest: str
    was_there: bool

    def __str__(self) -> str:
        return f"{self.image}@{self.digest}"


def targets(images: Iterable[str], registry: str, *, offered: Iterable[str]) -> dict[str, str]:
    """The name of each image in a registry, by the name that it is offered under.

    Args:
        images: as the user or a manifest names them, short names too.
        registry: HOST[:PORT][/PROJECT].
        offered: the images that can be had.

    Raises:
        UsageError: the registry is none, a name can't be read, or nobody offers such an image.
    """
    registry = checked_registry(registry)
    known = {str(ImageReference.parse(name)): name for name in offered}
    found: dict[str, str] = {}
    for image in images:
        try:
            reference = ImageReference.parse(image)
            target = str(reference.moved_to(registry))
        except ValueError as error:
            raise UsageError(f"the image {image!r} can't be read: {error}") from None
        if str(reference) not in known:
            raise UsageError(
                f"the bundle has no image {image}",
                remedy=f"it has {', '.join(known.values())}; for others use your own copy and "
                "`docker push`",
            )
        found[known[str(reference)]] = target
    return found


def push_images(
    archive: Callable[[str], Path],
    names: dict[str, str],
    crane: Crane,
    *,
    progress: Progress,
    replace: bool = False,
) -> list[Pushed]:
    """Push images, one after the other; what is there already stays.

    Args:
        archive: gives the docker-archive of an image, built or pulled if need be.
        names: the images, each with its name in the registry; see `targets`.
        crane: for that registry.
        progress: one step an image.
        replace: whether another image of the same name in the registry is replaced.

    Raises:
        UsageError: the registry refuses, or has another image of that name.
        InfrastructureError: an image can't be built or pulled.
    """
    progress.plan(f"push {target}" for target in names.values())
    done = []
    for image, target in names.items():
        with progress.step(f"push {target}") as step:
            # Asked first: nothing is built for a registry that refuses.
            there = crane.digest(target)
            file = archive(image)
            wanted = crane.digest_of(file) if there else ""
            if there and there == wanted:
                step.note("there already")
            elif there and not replace:
                raise UsageError(
                    f"{target} is taken: the registry has another image of that name, {there}",
                    remedy="push to another project, or replace it with --replace",
                )
            else:
                wanted = crane.push(file, target)
            done.append(Pushed(target, wanted, there == wanted))
    return done
