"""The compressed parts of a saved bundle."""

from __future__ import annotations

import gzip
import io
import random

from servicelab.bundle.compress import BLOCK, Compressed


def test_many_blocks_are_one_gzip_stream() -> None:
    """What is written, in pieces that fit no block, is read back by any gzip, whole."""
    content = random.Random(1).randbytes(2 * BLOCK + 12345)
    raw = io.BytesIO()
    compressed = Compressed(raw)

    for start in range(0, len(content), 1_000_003):
        compressed.write(content[start : start + 1_000_003])
    compressed.finish()

    assert gzip.decompress(raw.getvalue()) == content


def test_nothing_written_is_an_empty_stream() -> None:
    """A file without content is a valid stream without content."""
    raw = io.BytesIO()

    Compressed(raw).finish()

    assert gzip.decompress(raw.getvalue()) == b""
