"""A manifest with its images at another registry; every other character stays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from servicelab.errors import UsageError
from servicelab.manifests.images import Found, ManifestImage, find_images, read
from servicelab.manifests.mentions import mentions
from servicelab.manifests.reference import checked_registry
from servicelab.manifests.tree import Scalar

_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What came of a manifest.

    Attributes:
        text: the manifest with the new names.
        moved: each image that has a new name, by its full old name, with the new one; in the
            order of the text.
        warnings: images that are only mentioned and were left as they are, one sentence each.
    """

    text: str
    moved: dict[str, str]
    warnings: tuple[str, ...]

    def report(self) -> list[str]:
        """What was done and what was not, a line each."""
        lines = [f"{old} -> {new}" for old, new in self.moved.items()]
        return [
            *(lines or ["no image had to be moved"]),
            *(f"warning: {warning}" for warning in self.warnings),
        ]


def rewrite(text: str, registry: str, *, where: str) -> Rewriting:
    """Put a registry's name into every image of a manifest.

    `quay.io/metallb/speaker:v1` becomes `REGISTRY/metallb/speaker:v1`, `nginx` becomes
    `REGISTRY/library/nginx`; tags and digests stay, and so do images of that registry. Comments,
    order, quotes and line ends are those of the text.

    Args:
        text: YAML, documents separated by `---`.
        registry: HOST[:PORT][/PROJECT].
        where: what to call the text in an error, such as the file's name.

    Raises:
        UsageError: it is no manifest, an image can't be read, two images would get one name, or
            the registry is none.
    """
    registry = checked_registry(registry)
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    text = text.removeprefix(_BYTE_ORDER_MARK)
    objects = read(text, where)
    found = find_images(objects, where)
    targets = _targets(found, registry, where)
    # One that is only repeated follows what it repeats.
    rewritten = {id(each.scalar) for each in found}
    edits = [
        (each.scalar, targets[str(each.image.reference)])
        for each in found
        if not each.image.reference.is_at(registry) and id(each.scalar.definition) not in rewritten
    ]
    result = _edited(text, edits)
    _check(result, [targets[str(each.image.reference)] for each in found], where)
    return Rewriting(
        mark + result,
        {old: new for old, new in targets.items() if old != new},
        tuple(
            f"{where} line {image.line}: {image.written} is only mentioned there, not run by the "
            "manifest, and was left as it is"
            for image in mentions(objects, found)
            if not image.reference.is_at(registry)
        ),
    )


def _targets(found: Iterable[Found], registry: str, where: str) -> dict[str, str]:
    """The new full name of each image by its old one.

    Raises:
        UsageError: two of them would have the same, or one would be too long.
    """
    targets: dict[str, str] = {}
    taken: dict[str, ManifestImage] = {}
    for each in found:
        image = each.image
        try:
            target = str(image.reference.moved_to(registry))
        except ValueError as error:
            raise UsageError(
                f"{where} line {image.line}: {image.written} can't be moved to {registry}: {error}"
            ) from None
        other = taken.setdefault(target, image)
        if str(other.reference) != str(image.reference):
            raise UsageError(
                f"{where} line {image.line}: {image.written} and {other.written} "
                f"(line {other.line}) would both become {target}",
                remedy="give one of them another name or tag first",
            )
        targets[str(image.reference)] = target
    return targets


def _edited(text: str, edits: Iterable[tuple[Scalar, str]]) -> str:
    pieces: list[str] = []
    done = 0
    for scalar, new in edits:
        pieces += [
            text[done : scalar.start],
            _replaced(text[scalar.start : scalar.end], scalar, new),
        ]
        done = scalar.end
    return "".join([*pieces, text[done:]])


def _replaced(source: str, scalar: Scalar, new: str) -> str:
    """A scalar's source with another value, its quotes, tag and anchor kept."""
    if scalar.definition is not None:
        return new
    # An anchor or a tag stands before the value, and may say the same.
    before, found, after = source.rpartition(scalar.value)
    if found:
        return before + new + after
    # Written with escapes or over several lines.
    prefix = [word for word in source.split()[:2] if word[0] in "&!"]
    return " ".join([*prefix, f'"{new}"'])


def _check(text: str, wanted: list[str], where: str) -> None:
    """The rewritten text names exactly the new images: read it again and compare."""
    now = [str(found.image.reference) for found in find_images(read(text, where), where)]
    assert now == wanted, f"{where} was rewritten to {now} instead of {wanted}"
