"""Manifests as text: which images they name, and the same text with a private registry's names."""

from __future__ import annotations

from servicelab.manifests.files import read_text, write_text
from servicelab.manifests.images import ManifestImage, images_of
from servicelab.manifests.reference import ImageReference, checked_registry
from servicelab.manifests.rewriting import Rewriting, rewrite

__all__ = [
    "ImageReference",
    "ManifestImage",
    "Rewriting",
    "checked_registry",
    "images_of",
    "read_text",
    "rewrite",
    "write_text",
]
