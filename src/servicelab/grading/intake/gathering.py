"""The files of a submission: which ones, and their bytes; no link is followed, no device opened."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from servicelab.errors import UsageError
from servicelab.grading.intake.limits import (
    DEEPEST_FOLDER,
    LONGEST_NAME,
    MOST_BYTES,
    MOST_ENTRIES,
    MOST_FILE_BYTES,
    MOST_FILES,
)
from servicelab.grading.intake.refusal import Finding, Refused

ENDINGS = (".yaml", ".yml", ".json")
#: What a file's name may hold besides letters and digits: nothing that a shell, a terminal, a
#: report or another system would take for something else.
_IN_NAMES = frozenset(" ._-+()@,=")
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_REMEDY = f"hand in files that end with {', '.join(ENDINGS)}"
# A link in the last place is not followed; opening a pipe would wait for its writer.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was handed in.

    Attributes:
        files: name in the submission and content, by name.
        passed_over: names of what is no manifest.
    """

    files: tuple[tuple[str, bytes], ...]
    passed_over: tuple[str, ...]


def gather(path: Path) -> Gathered:
    """Read a file, or the manifests in a folder and in folders below it.

    Hidden files, and those whose name has another ending, are passed over.

    Args:
        path: the file or folder; itself no symbolic link.

    Raises:
        UsageError: there is no such file or folder, or the grader may not read it.
        Refused: it holds too much, or what is no plain file.
    """
    try:
        kind = stat.S_IFMT(path.lstat().st_mode)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
    found = _Found()
    # A folder may be called anything: its name is nowhere told.
    name = path.name if kind == stat.S_IFDIR else _checked(path.name)
    if kind == stat.S_IFREG and not name.lower().endswith(ENDINGS):
        raise Refused([Finding("it is no manifest by its name", name, remedy=_REMEDY)])
    if kind == stat.S_IFDIR:
        with _opened(path, name, os.O_DIRECTORY) as folder:
            _look_through(folder, "", found, DEEPEST_FOLDER)
    else:
        _add_file(path, name, kind, found)
    if not found.files:
        raise Refused([Finding("there is no manifest in it", remedy=_REMEDY)])
    return Gathered(tuple(sorted(found.files)), tuple(sorted(found.passed_over)))


@dataclass(slots=True)
class _Found:
    files: list[tuple[str, bytes]] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    entries: int = 0
    size: int = 0


def _look_through(folder: int, above: str, found: _Found, levels: int) -> None:
    with os.scandir(folder) as entries:
        names = []
        for entry in entries:
            found.entries += 1
            if found.entries > MOST_ENTRIES:
                raise Refused([Finding(f"it holds more than {MOST_ENTRIES} files and folders")])
            names.append(entry.name)
    for plain in sorted(names):
        if plain.startswith("."):
            continue
        name = _checked(f"{above}{plain}")
        kind = stat.S_IFMT(os.stat(plain, dir_fd=folder, follow_symlinks=False).st_mode)
        if kind == stat.S_IFDIR:
            if levels == 1:
                raise Refused([Finding(f"it lies more than {DEEPEST_FOLDER} folders deep", name)])
            with _opened(plain, name, os.O_DIRECTORY, folder) as inner:
                _look_through(inner, f"{name}/", found, levels - 1)
        elif kind == stat.S_IFREG and not plain.lower().endswith(ENDINGS):
            found.passed_over.append(name)
        else:
            _add_file(plain, name, kind, found, folder)


def _add_file(
    path: str | Path, name: str, kind: int, found: _Found, folder: int | None = None
) -> None:
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "no file")
        raise Refused([Finding(f"this is {what}, which is not followed", name, remedy=_REMEDY)])
    if len(found.files) == MOST_FILES:
        raise Refused([Finding(f"it holds more than {MOST_FILES} manifests")])
    with _opened(path, name, 0, folder) as file:
        content = _read(file, name)
    found.size += len(content)
    if found.size > MOST_BYTES:
        raise Refused([Finding(f"its manifests have more than {MOST_BYTES // 1024} KiB in all")])
    found.files.append((name, content))


def _read(file: int, name: str) -> bytes:
    """A file's content, or as much of it as shows that it is too long."""
    state = os.fstat(file)
    # It may have been replaced since it was looked at.
    if not stat.S_ISREG(state.st_mode):
        raise Refused([Finding("this is no plain file", name, remedy=_REMEDY)])
    too_long = Refused(
        [Finding(f"it has more than {MOST_FILE_BYTES // 1024} KiB, which no exercise needs", name)]
    )
    if state.st_size > MOST_FILE_BYTES:
        raise too_long
    content = b""
    while part := os.read(file, MOST_FILE_BYTES + 1 - len(content)):
        content += part
        if len(content) > MOST_FILE_BYTES:
            raise too_long
    return content


@contextmanager
def _opened(path: str | Path, name: str, flags: int, folder: int | None = None) -> Iterator[int]:
    with ExitStack() as closing:
        try:
            opened = os.open(path, _FLAGS | flags, dir_fd=folder)
            closing.callback(os.close, opened)
            yield opened
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENOENT):
                why = "it was replaced while it was read"
            else:
                why = f"it can't be read: {error.strerror}"
            raise Refused([Finding(why, name)]) from None


def _checked(name: str) -> str:
    """A name that can be shown and typed anywhere.

    Raises:
        Refused: it is none.
    """
    last = name.rpartition("/")[2]
    remedy = "rename it: letters, digits, spaces and -._+()@,= may stand in a name"
    if len(name) > LONGEST_NAME:
        raise Refused([Finding(f"its name is longer than {LONGEST_NAME} characters", name)])
    if last.startswith("-") or not all(each.isalnum() or each in _IN_NAMES for each in last):
        raise Refused([Finding("its name can't be used", name, remedy=remedy)])
    return name
