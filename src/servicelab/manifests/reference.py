"""Image references, read and completed as Docker does.

The grammar and the rules for short names are those of github.com/distribution/reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from servicelab.errors import UsageError

DOCKER_HUB = "docker.io"
_HUB_TOO = "index.docker.io"
_OFFICIAL = "library/"
_LONGEST_NAME = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST = re.compile(
    r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}", re.ASCII
)
_IMAGE_ID = re.compile(r"[a-f0-9]{64}")
_SHA256 = re.compile(r"sha256:[a-f0-9]{64}")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """What an image is called, in full.

    Attributes:
        registry: the host, with its port if it has one: "quay.io", "docker.io" for short names.
        path: the repository on it: "metallb/speaker", "library/nginx".
        tag: "v0.15.3"; "" if none is given.
        digest: "sha256:…"; "" if none is given.
    """

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Read a reference; "nginx" is docker.io/library/nginx.

        Raises:
            ValueError: it is none; says why, as a clause.
        """
        if _IMAGE_ID.fullmatch(text):
            raise ValueError("64 hexadecimal digits are an image's id, not its name")
        rest, at, digest = text.partition("@")
        if at and not _is_digest(digest):
            raise ValueError(f"{digest!r} is no digest, such as sha256:… with 64 digits")
        registry, path = _split(rest)
        path, colon, tag = path.partition(":")
        if colon and not _TAG.fullmatch(tag):
            raise ValueError(f"{tag!r} is no tag")
        if not _DOMAIN.fullmatch(registry):
            raise ValueError(f"{registry!r} is no host")
        if not _PATH.fullmatch(path):
            lower = path.lower()
            why = "names are in lower case" if _PATH.fullmatch(lower) else f"{path!r} is no name"
            raise ValueError(why)
        if len(f"{registry}/{path}") > _LONGEST_NAME:
            raise ValueError(f"its name has more than {_LONGEST_NAME} characters")
        return cls(registry, path, tag, digest)

    @property
    def name(self) -> str:
        """Registry and path, without tag and digest."""
        return f"{self.registry}/{self.path}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"

    def is_at(self, registry: str) -> bool:
        """Whether it names an image of a registry (or of a project in it) already."""
        return self.name.lower().startswith(f"{registry.lower()}/")

    def moved_to(self, registry: str) -> ImageReference:
        """The same repository, tag and digest at another registry; one of that registry stays.

        Args:
            registry: as `checked_registry` returns it.

        Raises:
            ValueError: the new name is too long.
        """
        if self.is_at(registry):
            return self
        tail = f"/{self.path}{f':{self.tag}' if self.tag else ''}"
        return ImageReference.parse(f"{registry}{tail}{f'@{self.digest}' if self.digest else ''}")


def checked_registry(registry: str) -> str:
    """A registry's host, perhaps with a port and a project: "harbor.example.org/team".

    Raises:
        UsageError: it is none, or Docker would take it for a user of Docker Hub.
    """
    scheme, found, _ = registry.partition("://")
    if found:
        raise UsageError(
            f"the registry {registry!r} begins with {scheme}://, and image names have no scheme",
            remedy="write HOST[:PORT][/PROJECT]",
        )
    host, slash, project = registry.strip().removesuffix("/").partition("/")
    if not _DOMAIN.fullmatch(host) or (slash and not _PATH.fullmatch(project)):
        raise UsageError(
            f"{registry!r} is no registry", remedy="write HOST[:PORT][/PROJECT], in lower case"
        )
    if not _is_host(host):
        raise UsageError(
            f"the registry {registry!r} would be taken for a user of Docker Hub: its host has "
            "neither dot nor port",
            remedy=f"write it with its port ({host}:443), or its full name",
        )
    host = DOCKER_HUB if host == _HUB_TOO else host
    return f"{host}/{project}" if project else host


def _split(rest: str) -> tuple[str, str]:
    """The registry and what follows it."""
    first, slash, remainder = rest.partition("/")
    if not slash or not _is_host(first):
        first, remainder = DOCKER_HUB, rest
    if first == _HUB_TOO:
        first = DOCKER_HUB
    if first == DOCKER_HUB and "/" not in remainder:
        remainder = f"{_OFFICIAL}{remainder}"
    return first, remainder


def _is_host(component: str) -> bool:
    """Whether a reference's first component is a host, not a user of Docker Hub."""
    return (
        "." in component
        or ":" in component
        or component == "localhost"
        or component != component.lower()
    )


def _is_digest(digest: str) -> bool:
    if digest.startswith("sha256:"):
        return _SHA256.fullmatch(digest) is not None
    return _DIGEST.fullmatch(digest) is not None
