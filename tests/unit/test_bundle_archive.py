"""Images as docker-archive files."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path

from servicelab.bundle.archive import Image, write_image


def image(root: Path) -> Image:
    """An image of a folder and a file."""
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("root\n")
    (root / "link").symlink_to("etc/passwd")
    program = root.with_name(f"{root.name}-program")
    program.write_text("x")
    program.chmod(0o755)
    return Image(
        ("a.example/thing:1", "a.example/thing:2"),
        ((root, ""), (program, "usr/bin/program")),
        entrypoint=("/usr/bin/program",),
        command=("idle",),
    )


def test_an_image_has_one_layer_with_its_content(tmp_path: Path) -> None:
    """The archive is what `docker load` reads: a manifest, a configuration and a layer."""
    file = tmp_path / "image.tar"

    image_id = write_image(image(tmp_path / "root"), file)

    with tarfile.open(file) as archive:
        (manifest,) = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        config_data = archive.extractfile(manifest["Config"]).read()  # type: ignore[union-attr]
        layer = archive.extractfile(manifest["Layers"][0])
        assert layer is not None
        with tarfile.open(fileobj=layer) as content:
            members = {member.name: member for member in content}
        layer.seek(0)
        diff_id = hashlib.sha256(layer.read()).hexdigest()
    config = json.loads(config_data)
    assert image_id == f"sha256:{hashlib.sha256(config_data).hexdigest()}"
    assert manifest["RepoTags"] == ["a.example/thing:1", "a.example/thing:2"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{diff_id}"]
    assert config["config"]["Entrypoint"] == ["/usr/bin/program"]
    assert config["config"]["Cmd"] == ["idle"]
    assert set(members) == {"etc", "etc/passwd", "link", "usr/bin/program"}
    assert members["usr/bin/program"].mode == 0o755
    assert members["link"].linkname == "etc/passwd"


def test_the_same_content_is_the_same_file(tmp_path: Path) -> None:
    """Neither times nor the order on the disk nor owners change a byte."""
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    one, two = image(tmp_path / "one"), image(tmp_path / "two")
    os.utime(tmp_path / "two" / "etc/passwd", (1, 1))

    assert write_image(one, first) == write_image(two, second)
    assert first.read_bytes() == second.read_bytes()
    assert {path.name for path in tmp_path.glob("*.tar*")} == {"first.tar", "second.tar"}
