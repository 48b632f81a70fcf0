"""What a cluster is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Source = Literal["official", "bundle"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """Images in the engine and programs on the disk, ready to make a cluster.

    Attributes:
        source: "official" for what the projects publish, "bundle" for what is built here.
        node_image: the name that the engine knows the node image by.
        kind: the kind binary.
        kubectl: the kubectl binary.
        probe_image: the name that the engine knows the probe image by.
        archive: images to load into a new cluster's nodes; None where the node image has them.
        reason: why this source.
        kubernetes: the version in the node image, such as "v1.37.0".
    """

    source: Source
    node_image: str
    kind: Path
    kubectl: Path
    probe_image: str
    archive: Path | None
    reason: str
    kubernetes: str
