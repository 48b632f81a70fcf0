"""Which Debian mirror this machine uses, read from apt's own configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from servicelab.errors import InfrastructureError

ETC_APT = Path("/etc/apt")
ELSEWHERE = "this works on Debian; elsewhere install Docker, or load a bundle saved on Debian"
# These have neither an -updates nor a -security suite beside them.
ROLLING = frozenset({"sid", "unstable", "experimental"})


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of apt's sources: where packages come from and who signs them."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""

    @property
    def is_debian(self) -> bool:
        """Whether this is Debian's own archive, not another project's for Debian."""
        if "main" not in self.components or urlsplit(self.uri).scheme == "cdrom":
            return False
        if self.signed_by:
            return "debian-archive-" in self.signed_by
        return _last_component(self.uri) in {"debian", "debian-security"}

    @property
    def is_security(self) -> bool:
        """Whether this is the archive of security fixes, which has its own address."""
        by_suite = any("-security" in suite or "/updates" in suite for suite in self.suites)
        return by_suite or _last_component(self.uri) == "debian-security"


@dataclass(frozen=True, slots=True)
class Mirror:
    """The addresses of Debian's archive, and of its security archive ("" if not configured)."""

    archive: str
    security: str = ""

    def lines(self, suite: str, keyring: Path | None) -> list[str]:
        """A sources list in apt's one-line form for one suite with its updates."""
        option = f"[signed-by={keyring}] " if keyring else ""
        lines = [f"deb {option}{self.archive} {suite} main"]
        if suite not in ROLLING:
            lines.append(f"deb {option}{self.archive} {suite}-updates main")
            if self.security:
                lines.append(f"deb {option}{self.security} {suite}-security main")
        return lines


def parse_deb822(text: str) -> list[Source]:
    """Read a .sources file; disabled and source-only stanzas are left out."""
    sources: list[Source] = []
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        field = ""
        for line in stanza.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0].isspace():
                fields[field] = f"{fields.get(field, '')} {line.strip()}".strip()
            else:
                field, _, value = line.partition(":")
                field = field.strip().lower()
                fields[field] = value.strip()
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").lower() in {"no", "false", "0"}:
            continue
        suites = tuple(fields.get("suites", "").split())
        components = tuple(fields.get("components", "").split())
        sources += [
            Source(uri, suites, components, fields.get("signed-by", ""))
            for uri in fields.get("uris", "").split()
        ]
    return sources


def parse_one_line(text: str) -> list[Source]:
    """Read a sources.list file in the one-line form."""
    pattern = re.compile(r"^deb\s+(?:\[(?P<options>[^]]*)]\s+)?(?P<uri>\S+)\s+(?P<rest>.+)$")
    sources: list[Source] = []
    for line in text.splitlines():
        match = pattern.match(line.split("#", 1)[0].strip())
        if not match:
            continue
        options = dict(
            option.partition("=")[::2] for option in (match["options"] or "").split() if option
        )
        suite, *components = match["rest"].split()
        sources.append(
            Source(match["uri"], (suite,), tuple(components), options.get("signed-by", ""))
        )
    return sources


def machine_sources(etc_apt: Path = ETC_APT) -> list[Source]:
    """Every package source that apt on this machine is configured with."""
    parts = etc_apt / "sources.list.d"
    sources: list[Source] = []
    for path in [etc_apt / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            sources += parse_one_line(path.read_text(errors="replace"))
    for path in sorted(parts.glob("*.sources")):
        sources += parse_deb822(path.read_text(errors="replace"))
    return sources


def machine_mirror(etc_apt: Path = ETC_APT) -> Mirror:
    """The Debian mirror that this machine uses.

    Raises:
        InfrastructureError: apt is not configured with Debian's archive.
    """
    ours = [source for source in machine_sources(etc_apt) if source.is_debian]
    archive = next((source.uri for source in ours if not source.is_security), "")
    if not archive:
        raise InfrastructureError(
            f"no Debian archive among the apt sources in {etc_apt}", remedy=ELSEWHERE
        )
    return Mirror(archive, next((source.uri for source in ours if source.is_security), ""))


def _last_component(uri: str) -> str:
    return urlsplit(uri).path.rstrip("/").rsplit("/", 1)[-1].removesuffix(".list")
