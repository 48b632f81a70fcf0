"""Images and programs: official ones, or a bundle built from Go modules and Debian packages."""

from __future__ import annotations

from servicelab.bundle.bundle import Bundle
from servicelab.bundle.choice import checked_source, ensure_bundle
from servicelab.bundle.extras import Extras
from servicelab.bundle.listing import ImageEntry, list_images
from servicelab.bundle.portable import load, save

__all__ = [
    "Bundle",
    "Extras",
    "ImageEntry",
    "checked_source",
    "ensure_bundle",
    "list_images",
    "load",
    "save",
]
