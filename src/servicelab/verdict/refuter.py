"""Refuters: faults that make a claim untrue, to see that its test can fail.

`pytest --refute MODULE` takes them from the dictionary `REFUTERS` of that module, by claim id.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from servicelab.errors import UsageError
from servicelab.verdict.claims import claim_of


@dataclass(frozen=True, slots=True)
class Refuter:
    """A fault that makes a claim untrue.

    Attributes:
        claim: the claim's id.
        fault: brings the fault about; what it gets is up to the lab that calls it.
        expects: what the failing test's message must contain.
        why: why the claim can't hold under this fault, one sentence.
        layer: the first broken layer under this fault, which the failure must name, in the one word
            of `servicelab explain`; "" where none is evident.
    """

    claim: str
    fault: Callable[..., Any]
    expects: str
    why: str
    layer: str = ""


REFUTERS = pytest.StashKey[Mapping[str, Refuter]]()


def refuter_for(node: pytest.Item) -> Refuter | None:
    """The refuter that a test must run under; None in an ordinary session."""
    mark = claim_of(node)
    refuters = node.config.stash.get(REFUTERS, None)
    return refuters.get(mark.id) if mark and refuters else None


def load_refuters(name: str, *, root: Path) -> Mapping[str, Refuter]:
    """The `REFUTERS` of a module, given by its name or its file.

    Args:
        name: "package.module" or "path/to/file.py".
        root: the folder a path starts from.

    Raises:
        UsageError: it can't be found, or has no such dictionary.
    """
    module = _load_file(root / name) if name.endswith(".py") else _load_module(name)
    refuters = getattr(module, "REFUTERS", None)
    if not isinstance(refuters, Mapping):
        raise UsageError(
            f"{name} has no dictionary REFUTERS", remedy="give it one, from claim id to Refuter"
        )
    for id_, refuter in refuters.items():
        if not isinstance(refuter, Refuter) or refuter.claim != id_ or not refuter.expects:
            raise UsageError(
                f"REFUTERS[{id_!r}] of {name} is not a Refuter of that claim with what it expects",
                remedy=f"write Refuter({id_!r}, fault, expects=…, why=…)",
            )
    return refuters


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"there is no module {name!r} with refuters ({error})",
            remedy="name an importable module or a .py file",
        ) from None


def _load_file(file: Path) -> ModuleType:
    name = f"servicelab_refuters_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise UsageError(f"there is no file {file} with refuters")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
