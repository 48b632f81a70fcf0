"""A lab's claims.toml: what is claimed, in which proxy modes, and which verdict is known.

One table for each claim, named by its id:

```toml
[CIP-09]
says = "Round robin is how a Service balances"
modes = ["iptables", "nftables", "ipvs"]      # where it is tested; all three if left out
known = [
  { modes = ["iptables", "nftables"], verdict = "false" },
  { modes = ["ipvs"], kubernetes = "<1.43", verdict = "holds, but …", but = "scheduler rr" },
]
```

An entry of `known` is for some modes (all of the claim's if left out) and some Kubernetes versions
(a specifier set such as ">=1.30,<1.43"; all if left out). Its verdict is `holds`, `holds, but …`
(then `but` gives the condition), `changed` (then `since` says since when) or `false`. The first
entry that fits counts.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servicelab.errors import UsageError
from servicelab.verdict.claims import CLAIM_ID
from servicelab.verdict.outcome import Verdict

if TYPE_CHECKING:
    from servicelab.cluster.config import ProxyMode

#: In the order in which a run enters them.
MODES: tuple[ProxyMode, ...] = ("iptables", "nftables", "ipvs")
FILE_NAME = "claims.toml"

_VERDICTS = {
    "holds": Verdict.HOLDS,
    "holds, but …": Verdict.HOLDS_BUT,
    "holds, but ...": Verdict.HOLDS_BUT,
    "holds, but": Verdict.HOLDS_BUT,
    "changed": Verdict.CHANGED,
    "false": Verdict.FALSE,
}
_DETAIL = {Verdict.HOLDS_BUT: "but", Verdict.CHANGED: "since"}


@dataclass(frozen=True, slots=True)
class Known:
    """The verdict that is known for some modes and Kubernetes versions.

    Attributes:
        verdict: one of the four that can be measured.
        modes: proxy modes it is for.
        kubernetes: specifier set of versions, such as ">=1.30"; "" for all.
        detail: the condition of `holds, but …`, the since-when of `changed`; else "".
    """

    verdict: Verdict
    modes: tuple[str, ...]
    kubernetes: str = ""
    detail: str = ""

    def fits(self, mode: str, kubernetes_version: str) -> bool:
        """Is it for this mode and this version ("v1.37.0"; "" if it isn't known)?"""
        if mode not in self.modes:
            return False
        if not self.kubernetes:
            return True
        from packaging.specifiers import SpecifierSet
        from packaging.version import InvalidVersion, Version

        try:
            version = Version(kubernetes_version)
        except InvalidVersion:
            return False
        # v1.38.0-alpha.1 has what 1.38 changed: compare what it will be.
        return Version(version.base_version) in SpecifierSet(self.kubernetes)

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        versions = f" for Kubernetes {self.kubernetes}" if self.kubernetes else ""
        return f"`{self.verdict}`{detail}{versions}"


@dataclass(frozen=True, slots=True)
class Claim:
    """One row of a lab's catalogue.

    Attributes:
        id: such as CIP-03.
        says: the claim, one sentence.
        modes: proxy modes in which it is tested.
        known: verdicts that are known.
    """

    id: str
    says: str
    modes: tuple[str, ...] = MODES
    known: tuple[Known, ...] = ()

    def known_for(self, mode: str, kubernetes_version: str) -> Known | None:
        """The first known verdict that fits, or None."""
        return next((k for k in self.known if k.fits(mode, kubernetes_version)), None)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All claims of one lab.

    Attributes:
        path: its claims.toml.
        claims: by id, in the file's order.
    """

    path: Path
    claims: Mapping[str, Claim]

    @property
    def lab(self) -> str:
        """The lab's name: that of its folder."""
        return self.path.parent.name


@lru_cache
def read_catalogue(path: Path) -> Catalogue:
    """Read and check a claims.toml.

    Raises:
        UsageError: it can't be read, or an entry is wrong; the sentence says which and why.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the catalogue {path} can't be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the catalogue {path} is not TOML: {error}") from None
    return Catalogue(path, {id_: _Entry(path, id_, table).claim() for id_, table in tables.items()})


def catalogue_above(file: Path, *, root: Path) -> Catalogue | None:
    """The nearest claims.toml beside or above a test file, up to and including the root folder.

    Raises:
        UsageError: there is one, and it is wrong.
    """
    for folder in file.parents:
        if (folder / FILE_NAME).is_file():
            return read_catalogue(folder / FILE_NAME)
        if folder == root:
            break
    return None


@dataclass(frozen=True, slots=True)
class _Entry:
    """One table of the file, with what a message about it needs."""

    path: Path
    id: str
    table: Any

    def claim(self) -> Claim:
        if not CLAIM_ID.fullmatch(self.id):
            raise self.wrong(f"[{self.id}] is not a claim's id", "write it like [CIP-03]")
        self.check_keys(self.table, {"says", "modes", "known"}, f"[{self.id}]")
        says = self.table.get("says")
        if not isinstance(says, str) or not says.strip():
            raise self.wrong(f"[{self.id}] does not say what it claims", 'add says = "…"')
        modes = self.modes(self.table.get("modes", list(MODES)), f"[{self.id}]")
        entries = self.table.get("known", [])
        if not isinstance(entries, list):
            raise self.wrong(f"known of [{self.id}] is not a list", "write known = [{ … }]")
        known = tuple(
            self.known(entry, f"entry {number} of known of [{self.id}]", modes)
            for number, entry in enumerate(entries, start=1)
        )
        return Claim(self.id, " ".join(says.split()), modes, known)

    def known(self, entry: Any, where: str, claim_modes: tuple[str, ...]) -> Known:
        self.check_keys(entry, {"modes", "kubernetes", "verdict", "but", "since"}, where)
        modes = self.modes(entry.get("modes", list(claim_modes)), where)
        if surplus := sorted(set(modes) - set(claim_modes)):
            raise self.wrong(
                f"{where} is for {surplus[0]}, in which the claim is not tested",
                f"add {surplus[0]} to the claim's modes, or take it out here",
            )
        given = entry.get("verdict")
        verdict = _VERDICTS.get(given) if isinstance(given, str) else None
        if verdict is None:
            raise self.wrong(
                f"{where} has the verdict {given!r}",
                "use one of `holds`, `holds, but …`, `changed`, `false`",
            )
        return Known(
            verdict, modes, self.versions(entry, where), self.detail(entry, verdict, where)
        )

    def detail(self, entry: Mapping[str, Any], verdict: Verdict, where: str) -> str:
        wanted = _DETAIL.get(verdict)
        for key in ("but", "since"):
            given = entry.get(key)
            if key == wanted and not (isinstance(given, str) and given.strip()):
                raise self.wrong(f"{where} is `{verdict}` without `{key}`", f'add {key} = "…"')
            if key != wanted and given is not None:
                raise self.wrong(f"{where} is `{verdict}` with `{key}`", f"take {key} out")
        return " ".join(str(entry[wanted]).split()) if wanted else ""

    def versions(self, entry: Mapping[str, Any], where: str) -> str:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        given = entry.get("kubernetes", "")
        try:
            if not isinstance(given, str):
                raise InvalidSpecifier
            SpecifierSet(given)
        except InvalidSpecifier:
            raise self.wrong(
                f"{where} is for Kubernetes {given!r}", 'write versions like ">=1.30,<1.43"'
            ) from None
        return given

    def modes(self, given: Any, where: str) -> tuple[str, ...]:
        if not isinstance(given, list) or not given:
            raise self.wrong(f"modes of {where} is not a list of modes", f"use {list(MODES)}")
        if unknown := [mode for mode in given if mode not in MODES]:
            raise self.wrong(
                f"{where} names the mode {unknown[0]!r}", f"use one of {', '.join(MODES)}"
            )
        return tuple(mode for mode in MODES if mode in given)

    def check_keys(self, table: Any, known: set[str], where: str) -> None:
        if not isinstance(table, dict):
            raise self.wrong(f"{where} is not a table", f"give it {', '.join(sorted(known))}")
        if unknown := sorted(set(table) - known):
            raise self.wrong(
                f"{where} has the unknown key {unknown[0]!r}", f"use {', '.join(sorted(known))}"
            )

    def wrong(self, problem: str, remedy: str) -> UsageError:
        return UsageError(f"in {self.path} {problem}", remedy=remedy)
