"""Images that a manifest only mentions, to a program that will ask for them itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from servicelab.manifests.images import CONTAINER_LISTS, Found, ManifestImage, walk
from servicelab.manifests.reference import ImageReference
from servicelab.manifests.tree import Mapping, Scalar, Sequence

_ABOUT_IMAGES = re.compile(r"image$", re.IGNORECASE)
_OPTION = re.compile(r"(--?[A-Za-z][\w.-]*)=(.*)", re.DOTALL)
_SWITCHES = ("true", "false")


def mentions(objects: Iterable[Mapping], run: Iterable[Found]) -> list[ManifestImage]:
    """Images in the arguments and the environment of containers, and in other fields named image.

    Whether a text is an image is a guess: it has a tag or a digest and a registry's host before
    it, or a name that ends with "image" (`--sidecar-image=…`, `RELOADER_IMAGE`).

    Args:
        objects: of the manifest.
        run: the images that its Pods run, which are not meant.
    """
    known = {each.scalar.start for each in run}
    found: dict[int, ManifestImage] = {}
    for scalar, about, text in _candidates(objects):
        if scalar.start not in known and (image := _guess(about, text, scalar)):
            found[scalar.start] = image
    return [found[start] for start in sorted(found)]


def _candidates(objects: Iterable[Mapping]) -> Iterator[tuple[Scalar, str, str]]:
    """Texts that may be images, each with its scalar and what it is called."""
    containers: set[int] = set()
    for mapping in walk(objects):
        for key, value in mapping.entries:
            if key in CONTAINER_LISTS and isinstance(value, Sequence):
                containers |= {id(item) for item in value.items}
        if id(mapping) in containers:
            yield from _of_container(mapping)
            continue
        for key, value in mapping.entries:
            if isinstance(value, Scalar) and _ABOUT_IMAGES.search(key):
                yield value, key, value.value


def _of_container(container: Mapping) -> Iterator[tuple[Scalar, str, str]]:
    for key, value in container.entries:
        if not isinstance(value, Sequence):
            continue
        if key in ("args", "command"):
            before = ""
            for item in value.items:
                if not isinstance(item, Scalar):
                    continue
                option = _OPTION.fullmatch(item.value)
                about, text = option.groups() if option else (before, item.value)
                yield item, about, text
                before = item.value if item.value.startswith("-") else ""
        elif key == "env":
            for item in value.items:
                name = item.get("name") if isinstance(item, Mapping) else None
                given = item.get("value") if isinstance(item, Mapping) else None
                if isinstance(name, Scalar) and isinstance(given, Scalar):
                    yield given, name.value, given.value


def _guess(about: str, text: str, scalar: Scalar) -> ManifestImage | None:
    try:
        reference = ImageReference.parse(text)
    except ValueError:
        return None
    first, slash, _ = text.partition("/")
    at_a_host = bool(slash) and "." in first
    versioned = bool(reference.tag or reference.digest)
    called_so = _ABOUT_IMAGES.search(about) and text not in _SWITCHES and not text.isdecimal()
    if not called_so and not (at_a_host and versioned):
        return None
    return ManifestImage(reference, text, scalar.line)
