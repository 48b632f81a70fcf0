"""Private registries: pushing images to any, and one of our own beside a cluster."""

from __future__ import annotations

from servicelab.registry.access_log import Request
from servicelab.registry.container import PrivateRegistry, ensure_registry
from servicelab.registry.crane import Crane
from servicelab.registry.push import Pushed, push_images, targets

__all__ = [
    "Crane",
    "PrivateRegistry",
    "Pushed",
    "Request",
    "ensure_registry",
    "push_images",
    "targets",
]
