"""Print the pinned node images as JSON, one line: the matrix of the labs workflow."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

PINS = Path(__file__).resolve().parent.parent / "src" / "servicelab" / "pins.toml"


def node_images() -> list[dict[str, str]]:
    """Kubernetes version and image (with its digest) of each, newest first as in pins.toml."""
    pins = tomllib.loads(PINS.read_text())
    repository = pins["images"]["node"]
    return [
        {"version": version, "image": f"{repository}:{version}@{digest}"}
        for version, digest in pins["node_images"].items()
    ]


if __name__ == "__main__":
    print(json.dumps(node_images()))
