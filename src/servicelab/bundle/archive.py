"""Images as docker-archive files: one layer each, the same bytes for the same content."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# As Docker and Go call what Python's platform.machine() says.
ARCHITECTURES: Mapping[str, str] = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Image:
    """What an image holds and how it is run.

    Attributes:
        names: its references, with tags.
        content: (file or folder on this machine, its path in the image) pairs; "" for the root.
        entrypoint: the command that is always run.
        command: the arguments that the user of the image replaces.
        environment: VARIABLE=value lines.
    """

    names: tuple[str, ...]
    content: tuple[tuple[Path, str], ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = field(default=(PATH,))


def architecture() -> str:
    """This machine's architecture as image configurations and Go name it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def write_image(image: Image, file: Path) -> str:
    """Write the image as a docker-archive.

    Args:
        image: the image.
        file: the archive to write; a file with `.layer` added stands beside it meanwhile.

    Returns:
        The image's id, "sha256:…".

    Raises:
        OSError: the disk is full, or some content can't be read.
    """
    layer = file.with_name(f"{file.name}.layer")
    try:
        _write_layer(image.content, layer)
        diff_id = _sha256(layer)
        config: dict[str, object] = {
            "architecture": architecture(),
            "os": "linux",
            "config": _config(image),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
            "history": [{"created_by": "servicelab", "created": "1970-01-01T00:00:00Z"}],
            "created": "1970-01-01T00:00:00Z",
        }
        config_json = json.dumps(config, sort_keys=True).encode()
        image_id = hashlib.sha256(config_json).hexdigest()
        manifest = [
            {
                "Config": f"{image_id}.json",
                "RepoTags": list(image.names),
                "Layers": [f"{diff_id}/layer.tar"],
            }
        ]
        with tarfile.open(file, "w") as archive:
            _add_bytes(archive, "manifest.json", json.dumps(manifest).encode())
            _add_bytes(archive, f"{image_id}.json", config_json)
            archive.add(layer, f"{diff_id}/layer.tar", filter=_anonymous)
    finally:
        layer.unlink(missing_ok=True)
    return f"sha256:{image_id}"


def _config(image: Image) -> dict[str, object]:
    config: dict[str, object] = {"Env": list(image.environment)}
    if image.entrypoint:
        config["Entrypoint"] = list(image.entrypoint)
    if image.command:
        config["Cmd"] = list(image.command)
    return config


def _write_layer(content: Sequence[tuple[Path, str]], layer: Path) -> None:
    with tarfile.open(layer, "w") as tar:
        for source, path in content:
            if source.is_dir() and not path:
                # An entry for the root itself would only carry the cache folder's mode.
                for child in sorted(source.iterdir()):
                    tar.add(child, child.name, filter=_anonymous)
            else:
                tar.add(source, path, filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without what differs from machine to machine; tarfile itself adds in sorted order."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    return member


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
