"""`servicelab manifest`: a file or standard input in, a file or standard output out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from servicelab.errors import UsageError
from servicelab.manifests import read_text, write_text

POD = "apiVersion: v1\r\nkind: Pod\r\nspec: {containers: [{name: a, image: nginx}]} # é\r\n"
REWRITTEN = POD.replace("nginx", "h:5/library/nginx")


def manifest(
    *arguments: str, cache: Path, stdin: str = ""
) -> tuple[subprocess.CompletedProcess[bytes], list[str]]:
    """Run the command; what came of it, and the lines it wrote on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "servicelab", "manifest", *arguments],
        input=stdin.encode(),
        capture_output=True,
        check=False,
        cwd=cache,
        env={"PATH": "/nonexistent", "HOME": str(cache)},
    )
    return done, done.stderr.decode().splitlines()


def test_from_standard_input_to_standard_output(tmp_path: Path) -> None:
    """Only the manifest is on stdout; stderr says what was moved."""
    done, told = manifest("rewrite", "-", "--registry=h:5", cache=tmp_path, stdin=POD)

    assert done.returncode == 0
    assert done.stdout.decode() == REWRITTEN
    assert told == ["docker.io/library/nginx -> h:5/library/nginx"]


def test_a_file_may_be_rewritten_in_place(tmp_path: Path) -> None:
    """The file keeps its mode, and nothing lies beside it."""
    file = tmp_path / "pod.yaml"
    file.write_text(POD, encoding="utf-8", newline="")
    file.chmod(0o640)

    done, _ = manifest("rewrite", str(file), "--registry=h:5", f"--output={file}", cache=tmp_path)

    assert (done.returncode, done.stdout) == (0, b"")
    assert file.read_bytes().decode() == REWRITTEN
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_a_refused_manifest_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """One sentence, exit code 2."""
    file = tmp_path / "pod.yaml"
    file.write_text(POD.replace("nginx", "Nginx"), encoding="utf-8", newline="")

    done, told = manifest(
        "rewrite", str(file), "--registry=h:5", f"--output={file}", cache=tmp_path
    )

    assert done.returncode == 2
    assert len(told) == 1
    assert told[0].startswith(f"servicelab: {file} line 3: the image 'Nginx' can't be read")
    assert "Nginx" in file.read_text(encoding="utf-8")


def test_images_are_listed_once_with_their_full_names(tmp_path: Path) -> None:
    """As `servicelab images push` takes them."""
    done, told = manifest("images", "-", cache=tmp_path, stdin=f"{POD}---\n{POD}")

    assert done.stdout.decode() == "docker.io/library/nginx\n"
    assert told == []


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("absent.yaml", None, "can't be read: No such file"),
        ("folder", "", "can't be read: Is a directory"),
        ("latin.yaml", b"a: b\nc: \xe9\n", "line 2 is not UTF-8"),
    ],
)
def test_what_can_not_be_read(
    tmp_path: Path, name: str, content: bytes | str | None, sentence: str
) -> None:
    """One sentence with the file."""
    file = tmp_path / name
    if content == "":
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)

    with pytest.raises(UsageError, match=sentence):
        read_text(file)


@pytest.mark.parametrize("name", ["absent/pod.yaml", "."])
def test_what_can_not_be_written(tmp_path: Path, name: str) -> None:
    """One sentence, and no draft is left."""
    with pytest.raises(UsageError, match="can't be written"):
        write_text(POD, tmp_path / name)

    assert list(tmp_path.iterdir()) == []


def test_a_link_is_written_through(tmp_path: Path) -> None:
    """The link stays one."""
    (tmp_path / "real.yaml").write_text("old", encoding="utf-8")
    link = tmp_path / "link.yaml"
    link.symlink_to("real.yaml")

    write_text("new", link)

    assert link.is_symlink()
    assert (tmp_path / "real.yaml").read_text(encoding="utf-8") == "new"
