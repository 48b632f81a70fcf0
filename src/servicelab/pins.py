"""Every version that servicelab builds or pulls; the numbers themselves stand in pins.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Pins:
    """The pinned versions; see pins.toml for what each one is."""

    kind: str
    kubernetes: str
    etcd: str
    etcd_image: str
    coredns: str
    pause: str
    containerd: str
    metallb: str
    distribution: str
    gobgp: str
    crane: str
    agnhost: str
    probe: str
    go: str
    debian: dict[str, str]
    images: dict[str, str]
    node_images: dict[str, str]
    tools: dict[str, str]

    @property
    def agnhost_image(self) -> str:
        """The web backend of the labs, with its tag."""
        return f"{self.images['agnhost']}:{self.agnhost}"

    @property
    def probe_image(self) -> str:
        """The image that asks, with its tag."""
        return f"{self.images['probe']}:{self.probe}"

    @property
    def metallb_images(self) -> tuple[str, str]:
        """MetalLB's controller and speaker, as its native manifest names them."""
        return (
            f"{self.images['metallb_controller']}:{self.metallb}",
            f"{self.images['metallb_speaker']}:{self.metallb}",
        )


@cache
def pins() -> Pins:
    """Read pins.toml once."""
    text = resources.files("servicelab").joinpath("pins.toml").read_text()
    data: dict[str, Any] = tomllib.loads(text)
    return Pins(**data)
