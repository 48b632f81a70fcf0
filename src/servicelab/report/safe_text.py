"""Text that others wrote, made safe to keep and to show: names for files, sizes, control codes.

What a cluster says (names, logs, answers) may be written by anybody: it may be endless, steer a
terminal that prints it, or climb out of the folder that it is saved in.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

#: Control codes (but tab and line feed), marks that turn the direction of writing, line separators,
#: halves of surrogate pairs, which UTF-8 does not write, and what XML has no place for.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff"
    "\ud800-\udfff\ufffe\uffff]"
)
_LONGEST_NAME = 60
"""Characters of a file's name, without its ending; file systems take 255 bytes."""


def printable(text: str) -> str:
    r"""The text with each control code written out, such as `\x1b` for escape."""
    plain = text.replace("\r\n", "\n")
    return _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], plain)


def one_line(text: str, most: int) -> str:
    """Printable, on one line, and of so many characters at most."""
    if len(text) <= most and text.isprintable() and "  " not in text:
        return text.strip()
    # What is far too long is cut before it is looked through.
    line = " ".join(printable(text[: 4 * most]).split())
    shortened = len(line) > most or len(text) > 4 * most
    return f"{line[: most - 2]} …" if shortened else line


def within(
    text: str, most: int, keep: Literal["first", "last"] = "first", *, of: int = 0
) -> tuple[str, bool]:
    """The first or last part of a long text, with a line that says how much is left out.

    Args:
        text: any text.
        most: characters to keep.
        keep: which end says more: the first of a listing, the last of a log.
        of: characters that there were, if the text has been cut before.

    Returns:
        The text, and whether something was left out.
    """
    out = max(len(text), of) - most
    if len(text) <= most:
        return text, False
    if keep == "first":
        return f"{text[:most]}\n… {out} characters more are left out here …\n", True
    return f"… {out} characters before this are left out here …\n{text[-most:]}", True


def file_name(name: str) -> str:
    """A file's name from any name: lower case, no separator, no leading dot, not too long.

    Two names that differ give names that differ: one that had to be changed ends with a part of
    its hash.
    """
    clean = re.sub(r"[^a-z0-9._-]+", "-", name.lower())
    clean = re.sub(r"\.{2,}", ".", clean).strip(".-")
    if clean and clean == name.lower() and len(clean) <= _LONGEST_NAME:
        return clean
    ending = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{clean[: _LONGEST_NAME - 9].rstrip('.-') or 'unnamed'}-{ending}"
