"""The images that a manifest names: in every Pod template, wherever the template stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from servicelab.errors import UsageError
from servicelab.manifests.reference import ImageReference
from servicelab.manifests.tree import Mapping, Node, Scalar, Sequence, parse

CONTAINER_LISTS = frozenset({"containers", "initContainers", "ephemeralContainers"})
#: Describes what other manifests may look like; what it calls `containers` is a schema.
_SCHEMA_KIND = "CustomResourceDefinition"
_REQUIRED = ("apiVersion", "kind")


@dataclass(frozen=True, slots=True)
class ManifestImage:
    """An image, where a manifest names it.

    Attributes:
        reference: the image, its name in full.
        written: as the manifest has it.
        line: where, counted from 1.
    """

    reference: ImageReference
    written: str
    line: int


@dataclass(frozen=True, slots=True)
class Found:
    """An image with its place in the tree."""

    image: ManifestImage
    scalar: Scalar


def images_of(text: str, where: str) -> list[ManifestImage]:
    """Every image that the Pods of a manifest run or mount, in the order of the text.

    Those of containers, init containers, ephemeral containers and image volumes; in bare Pods,
    Pod templates of any kind of object, CronJobs, and Lists of them. An image that several
    objects share through an alias is there once.

    Args:
        text: YAML, documents separated by `---`.
        where: what to call it in an error, such as the file's name.

    Raises:
        UsageError: it is no manifest, or an image's name can't be read.
    """
    return [found.image for found in find_images(read(text, where), where)]


def read(text: str, where: str) -> list[Mapping]:
    """The objects of a manifest.

    Raises:
        UsageError: it is not YAML, holds something that is no object, or holds nothing.
    """
    objects = []
    for document in parse(text.removeprefix("\ufeff"), where):
        missing = [
            key
            for key in _REQUIRED
            if not isinstance(document, Mapping) or document.get(key) is None
        ]
        if missing or not isinstance(document, Mapping):
            raise UsageError(
                f"{where} line {document.line}: this is no Kubernetes object, it has no "
                f"{missing[0]}"
            )
        objects.append(document)
    if not objects:
        raise UsageError(f"{where} holds no Kubernetes object")
    return objects


def find_images(objects: Iterable[Mapping], where: str) -> list[Found]:
    """The images of objects, each place once.

    Raises:
        UsageError: an image is no text, or its name can't be read.
    """
    found: dict[int, Found] = {}
    for scalar in _image_scalars(objects, where):
        if scalar.start not in found and not scalar.is_null and scalar.value:
            found[scalar.start] = Found(_image(scalar, where), scalar)
    return [found[start] for start in sorted(found)]


def walk(objects: Iterable[Mapping]) -> Iterator[Mapping]:
    """Every mapping in objects, once; not into schemas and what the cluster reports back."""
    todo: list[Node] = list(objects)
    seen: set[int] = set()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Sequence):
            todo += node.items
        elif isinstance(node, Mapping):
            kind = node.get("kind")
            if isinstance(kind, Scalar) and kind.value == _SCHEMA_KIND:
                continue
            yield node
            todo += [value for key, value in node.entries if key != "status"]


def _image_scalars(objects: Iterable[Mapping], where: str) -> Iterator[Scalar]:
    for mapping in walk(objects):
        for key, value in mapping.entries:
            if not isinstance(value, Sequence):
                continue
            parts = [item for item in value.items if isinstance(item, Mapping)]
            if key in CONTAINER_LISTS:
                for container in parts:
                    yield from _scalars_at(container, "image", where)
            elif key == "volumes":
                for volume in parts:
                    image = volume.get("image")
                    if isinstance(image, Mapping):
                        yield from _scalars_at(image, "reference", where)


def _scalars_at(mapping: Mapping, wanted: str, where: str) -> Iterator[Scalar]:
    for key, value in mapping.entries:
        if key != wanted:
            continue
        if not isinstance(value, Scalar):
            raise UsageError(
                f"{where} line {value.line}: the image is no text",
                remedy="write REGISTRY/NAME:TAG; a template must be filled in first",
            )
        yield value


def _image(scalar: Scalar, where: str) -> ManifestImage:
    if not scalar.is_string:
        raise UsageError(
            f"{where} line {scalar.line}: the image {scalar.value} is no text for YAML",
            remedy="put it in quotes",
        )
    try:
        reference = ImageReference.parse(scalar.value)
    except ValueError as error:
        raise UsageError(
            f"{where} line {scalar.line}: the image {scalar.value!r} can't be read: {error}",
            remedy="correct it; a template must be filled in first",
        ) from None
    return ManifestImage(reference, scalar.value, scalar.line)
