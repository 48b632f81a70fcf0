"""servicelab proves on real clusters what tutorials claim about Kubernetes Services."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from servicelab.verdict import NotProved, Verdict, claim, consistently, eventually

__all__ = ["NotProved", "Verdict", "__version__", "claim", "consistently", "eventually"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Imported when asked for: `servicelab doctor` needs neither pytest nor tenacity.
    if name in __all__:
        return getattr(import_module("servicelab.verdict"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
