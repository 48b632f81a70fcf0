"""A manifest's text from a file or standard input, and back, to the character."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from servicelab.errors import UsageError

STANDARD_INPUT = "-"


def read_text(file: Path) -> tuple[str, str]:
    """A file's text, line ends as they are, and what to call it in an error.

    Args:
        file: the file; "-" for standard input.

    Raises:
        UsageError: it can't be read, or is not UTF-8.
    """
    where = "standard input" if str(file) == STANDARD_INPUT else str(file)
    try:
        data = sys.stdin.buffer.read() if where != str(file) else file.read_bytes()
        return data.decode(), where
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{where} line {line} is not UTF-8", remedy="save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{where} can't be read: {error.strerror}") from None


def write_text(text: str, file: Path | None) -> None:
    """Write a text to a file, in one step, or to standard output.

    Args:
        text: the text.
        file: the file; None or "-" for standard output.

    Raises:
        UsageError: it can't be written.
    """
    if file is None or str(file) == STANDARD_INPUT:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
        return
    # Through a link, and without losing the file's mode: the file may be the one that was read.
    target = Path(os.path.realpath(file))
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if not target.exists() or target.is_file():
            draft.write_bytes(text.encode())
            if target.exists():
                draft.chmod(target.stat().st_mode & 0o7777)
            draft.replace(target)
        else:
            # A pipe, a terminal or the like, which can't be replaced; a folder is refused.
            target.write_bytes(text.encode())
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UsageError(f"{file} can't be written: {error.strerror}") from None
