"""Where labs and exercises stand: beside the sources, or inside the package once installed."""

from __future__ import annotations

from pathlib import Path

from servicelab.errors import UsageError


def content_root() -> Path:
    """The folder that holds labs/, exercises/, conftest.py and kind-config.yaml."""
    packaged = Path(__file__).parent / "_labs"
    return packaged if packaged.is_dir() else Path(__file__).parents[2]


def lab_names() -> list[str]:
    """The labs that travel with this installation."""
    return sorted(path.parent.name for path in content_root().glob("labs/*/claims.toml"))


def lab_path(name: str) -> Path:
    """The folder of a lab, by its name (`clusterip`), or a path that exists.

    Raises:
        UsageError: there is no such lab and no such path.
    """
    given = Path(name.split("::")[0])
    if given.exists():
        return Path(name).absolute()
    lab = content_root() / "labs" / name
    if lab.is_dir():
        return lab
    raise UsageError(
        f"there is no lab {name!r}", remedy=f"choose from {', '.join(lab_names()) or 'none'}"
    )


def default_kind_config() -> Path:
    """The cluster that the labs run on unless told otherwise."""
    return content_root() / "kind-config.yaml"
