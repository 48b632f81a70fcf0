"""A bundle as one file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from servicelab.bundle import portable
from servicelab.bundle.compress import BLOCK
from servicelab.bundle.portable import Part, load, save
from servicelab.errors import UsageError
from servicelab.progress import Progress

CONTENT = random.Random(1).randbytes(2 * BLOCK + 1)


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Part:
    """A part of more than two compressed blocks, on a machine where nothing must be built."""
    part = Part("thing", "bundle/thing-0123456789ab")
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "here"))
    monkeypatch.setattr(portable, "parts", lambda: [part])
    monkeypatch.setattr(portable, "ensure_built", lambda steps, progress: None)
    monkeypatch.setattr(portable, "ensure_programs", lambda progress: None)
    part.path.mkdir(parents=True)
    (part.path / "program").write_bytes(CONTENT)
    (part.path / "program").chmod(0o755)
    (part.path / "link").symlink_to("/absolute/target")
    return part


@pytest.fixture
def saved(part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The saved file; from then on this is a machine with an empty cache."""
    file = tmp_path / "bundle.tar"
    save(file, Progress(quiet=True))
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "there"))
    assert not part.path.exists()
    return file


def test_what_is_saved_is_loaded_whole(saved: Path, part: Part) -> None:
    """Files of many compressed blocks, modes and links arrive as they were."""
    load(saved, Progress(quiet=True))

    assert (part.path / "program").read_bytes() == CONTENT
    assert (part.path / "program").stat().st_mode & 0o777 == 0o755
    assert (part.path / "link").readlink() == Path("/absolute/target")


def test_a_guest_kernel_travels_if_it_is_there(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one, the file is whole as well."""
    kernel = Part("guest-kernel", "bundle/guest-kernel-0123456789ab")
    monkeypatch.setattr(portable, "optional_parts", lambda: [kernel])
    without, with_it = tmp_path / "without.tar", tmp_path / "with.tar"
    save(without, Progress(quiet=True))
    kernel.path.mkdir()
    (kernel.path / "linux").write_bytes(b"kernel")
    save(with_it, Progress(quiet=True))

    found = {}
    for file in (without, with_it):
        monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / file.stem))
        load(file, Progress(quiet=True))
        assert (part.path / "program").read_bytes() == CONTENT
        found[file.stem] = (kernel.path / "linux").exists()

    assert found == {"without": False, "with": True}


def test_a_damaged_file_loads_nothing(saved: Path, part: Part) -> None:
    """One changed byte is found by the sums, and the cache stays as it was."""
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 1
    saved.write_bytes(data)

    with pytest.raises(UsageError, match=r"is damaged: the sum of .*thing"):
        load(saved, Progress(quiet=True))

    assert not part.path.exists()
    assert not list(part.path.parent.glob("*.partial"))


def test_a_cut_file_loads_nothing(saved: Path, part: Part) -> None:
    """A copy that broke off is refused."""
    saved.write_bytes(saved.read_bytes()[: BLOCK + 1])

    with pytest.raises(UsageError, match="is damaged"):
        load(saved, Progress(quiet=True))

    assert not part.path.exists()


def test_a_foreign_file_is_refused(part: Part, tmp_path: Path) -> None:
    """A file that no servicelab wrote is a usage error with the way out."""
    foreign = tmp_path / "foreign"
    foreign.write_text("hello\n" * 1000)

    with pytest.raises(UsageError, match="images save"):
        load(foreign, Progress(quiet=True))


def test_a_file_of_another_version_is_refused(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made of other inputs is not taken for this version's."""
    monkeypatch.setattr(portable, "parts", lambda: [Part("thing", "bundle/thing-ba9876543210")])

    with pytest.raises(UsageError, match=r"another version of servicelab.*thing differs"):
        load(saved, Progress(quiet=True))


def test_a_missing_folder_is_refused_before_anything_is_built(part: Part, tmp_path: Path) -> None:
    """A mistyped path costs no build."""
    with pytest.raises(UsageError, match="there is no folder"):
        save(tmp_path / "no" / "bundle.tar", Progress(quiet=True))
