"""A bundle as one file, for machines with no network at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from servicelab.bundle.builder import PARTIAL, discard, ensure_built, locked, sweep
from servicelab.bundle.catalogue import catalogue
from servicelab.bundle.compress import Compressed
from servicelab.bundle.extras import extra_steps
from servicelab.bundle.guestkernel import guest_kernel_step
from servicelab.bundle.steps import Step, bundle_root
from servicelab.cache import cache_root
from servicelab.engine.packages import ensure_programs, programs_folder
from servicelab.errors import InfrastructureError, UsageError
from servicelab.progress import Progress

FORMAT = 1
MANIFEST = "manifest.json"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A folder of the cache that travels.

    Attributes:
        name: what it is, for people.
        folder: where it belongs, relative to the cache folder.
    """

    name: str
    folder: str

    @property
    def member(self) -> str:
        """Its file's name in the archive."""
        return f"{self.folder.replace('/', '_')}.tar.gz"

    @property
    def path(self) -> Path:
        """Where it belongs on this machine."""
        return cache_root() / self.folder


def parts() -> list[Part]:
    """What a machine needs that has neither network nor Go: programs, images and the engine."""
    folders = [(step.name, step.folder) for step in _steps()]
    folders.append(("engine", programs_folder()))
    return [_part(name, folder) for name, folder in folders]


def optional_parts() -> list[Part]:
    """What travels only if it is there: most machines need no guest."""
    kernel = guest_kernel_step()
    return [_part(kernel.name, kernel.folder)]


def _part(name: str, folder: Path) -> Part:
    return Part(name, str(folder.relative_to(cache_root())))


def _steps() -> tuple[Step, ...]:
    return (*catalogue().final, *extra_steps())


def save(file: Path, progress: Progress) -> None:
    """Write everything that a cluster needs into one file; what is missing is built first.

    Args:
        file: the archive to write; it stands there only once it is whole.
        progress: where the steps are reported.

    Raises:
        UsageError: the file can't be written.
        InfrastructureError: something can't be built, or the disk is full.
    """
    if not file.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {file.absolute().parent} to save into")
    ensure_built(_steps(), progress)
    ensure_programs(progress)
    partial = file.with_name(f".{file.name}{PARTIAL}")
    try:
        with locked(progress), tempfolder() as scratch:
            sums: dict[str, str] = {}
            packed_parts = [*parts(), *(part for part in optional_parts() if part.path.is_dir())]
            for part in packed_parts:
                with progress.step(f"pack {part.name}") as step:
                    packed = scratch / part.member
                    sums[part.member] = _pack(part, packed)
                    step.note(f"{packed.stat().st_size / 1e6:.0f} MB")
            with progress.step(f"write {file}"), tarfile.open(partial, "w") as archive:
                _add_manifest(archive, sums)
                for part in packed_parts:
                    archive.add(scratch / part.member, part.member)
                    (scratch / part.member).unlink()
        partial.replace(file)
    except OSError as error:
        raise InfrastructureError(
            f"{file} can't be written: {error.strerror}",
            remedy="check that there is about 1 GiB of free space there and in the cache folder",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def load(file: Path, progress: Progress) -> None:
    """Read such a file into the cache; either all of it or nothing.

    Args:
        file: what `save` wrote.
        progress: where the steps are reported.

    Raises:
        UsageError: no such file, a damaged one, or one of another servicelab version.
        InfrastructureError: the disk is full.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    try:
        if not tarfile.is_tarfile(file):
            raise _foreign(file)
        with tarfile.open(file, "r:") as archive:
            sums = _read_manifest(file, archive)
            with locked(progress):
                sweep()
                there = [*parts(), *(part for part in optional_parts() if part.member in sums)]
                with tempfolder() as scratch:
                    for part in there:
                        with progress.step(f"load {part.name}"):
                            _unpack(file, archive, part, sums[part.member], scratch / part.member)
                    for part in there:
                        _put(scratch / part.member, part.path)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise _damaged(file, str(error)) from error
    except OSError as error:
        raise InfrastructureError(
            f"{file} can't be loaded into {cache_root()}: {error.strerror or error}",
            remedy="check the free disk space (about 3 GiB) and that the file can be read",
        ) from error


@contextlib.contextmanager
def tempfolder() -> Iterator[Path]:
    """A folder in the cache that the next build or load would sweep; the lock must be held."""
    folder = bundle_root() / f"portable-{os.getpid()}{PARTIAL}"
    folder.mkdir()
    try:
        yield folder
    finally:
        discard(folder)


def _pack(part: Part, file: Path) -> str:
    """Write a folder as a compressed tar; returns the file's SHA-256 sum."""
    with file.open("wb") as raw:
        compressed = Compressed(raw)
        with tarfile.open(fileobj=cast(IO[bytes], compressed), mode="w|", bufsize=_CHUNK) as tar:
            for child in sorted(part.path.iterdir()):
                # The engine's packages are only what its programs were unpacked from.
                if child.name != "debs":
                    tar.add(child, child.name)
        compressed.finish()
    with file.open("rb") as packed:
        return hashlib.file_digest(packed, "sha256").hexdigest()


def _add_manifest(archive: tarfile.TarFile, sums: dict[str, str]) -> None:
    content = {"format": FORMAT, "machine": platform.machine(), "sha256": sums}
    data = json.dumps(content, indent=1).encode()
    member = tarfile.TarInfo(MANIFEST)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _read_manifest(file: Path, archive: tarfile.TarFile) -> dict[str, str]:
    """The sums by member.

    Raises:
        UsageError: it is not ours, or not for this version or machine.
    """
    first = archive.next()
    stream = archive.extractfile(first) if first and first.name == MANIFEST else None
    if stream is None:
        raise _foreign(file)
    try:
        content: dict[str, Any] = json.load(stream)
        version, machine = content["format"], content["machine"]
        sums: dict[str, str] = dict(content["sha256"])
    except (ValueError, TypeError, KeyError):
        raise _foreign(file) from None
    if machine != platform.machine():
        raise UsageError(f"{file} was saved on {machine}, and this machine is {platform.machine()}")
    absent = [part.name for part in parts() if part.member not in sums]
    if version != FORMAT or absent:
        what = f" (its {', '.join(absent)} differs)" if absent else ""
        raise UsageError(
            f"{file} was saved by another version of servicelab{what}",
            remedy="save it again with the version that loads it",
        )
    return sums


def _unpack(file: Path, archive: tarfile.TarFile, part: Part, wanted: str, into: Path) -> None:
    """Unpack a part once its sum has been found right."""
    try:
        stream = archive.extractfile(part.member)
    except KeyError:
        stream = None
    if stream is None:
        raise _damaged(file, f"it lacks {part.member}")
    if _sum(stream) != wanted:
        raise _damaged(file, f"the sum of {part.member} is wrong")
    stream.seek(0)
    into.mkdir()
    # Not "r|gz": that one stops after the first of the blocks that `Compressed` writes.
    with tarfile.open(fileobj=stream, mode="r:gz") as tar:
        # Links in the engine's programs lead to absolute paths, which the "data" filter refuses.
        if hasattr(tarfile, "tar_filter"):
            tar.extractall(into, filter="tar")
        else:
            tar.extractall(into)


def _put(folder: Path, target: Path) -> None:
    if target.exists():
        return  # Addressed by its content: it is the same.
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, target)


def _sum(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _damaged(file: Path, how: str) -> UsageError:
    return UsageError(f"{file} is damaged: {how}", remedy="copy it again, or save it again")


def _foreign(file: Path) -> UsageError:
    return UsageError(
        f"{file} is not a bundle of servicelab", remedy="make one with: servicelab images save FILE"
    )
