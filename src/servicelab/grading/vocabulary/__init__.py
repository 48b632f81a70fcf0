"""The words that an exercise's checks are written with.

    check: {answers: {service: "{{ app }}", port: "{{ port }}", of: "deployment/{{ app }}"}}

Each word looks at behaviour: who is behind a Service, who answered, what DNS said. None looks at
how a manifest is written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from servicelab.grading.found import Found

Check = Callable[..., Found]

#: The modules of this package, and the words that each brings.
_HOMES = {
    "workloads": ("pods_ready", "leaves_when_unready", "joins_when_ready"),
    "backends": ("endpoints",),
    "answering": ("answers", "sticky"),
    "names": ("name_answers", "name_lists", "pod_names", "name_outlives_pod"),
    "outside": ("node_port", "keeps_client_address", "external_address", "answers_outside"),
}
#: Those that ask from a host outside, beside the nodes.
ASK_FROM_OUTSIDE = frozenset(_HOMES["outside"])


def words() -> dict[str, Check]:
    """Every word with the function behind it."""
    return {word: check(word) for home in _HOMES.values() for word in home}


def check(word: str) -> Check:
    """The function behind a word.

    Raises:
        KeyError: there is no such word.
    """
    for home, brought in _HOMES.items():
        if word in brought:
            found: Check = getattr(import_module(f"{__name__}.{home}"), word)
            return found
    raise KeyError(word)


def check_use(word: str, arguments: Mapping[str, Any]) -> str:
    """Why a word can't be used so; "" if it can."""
    try:
        function = check(word)
    except KeyError:
        known = sorted(each for home in _HOMES.values() for each in home)
        return f"there is no word {word!r}; there are {', '.join(known)}"
    try:
        inspect.signature(function).bind(None, **arguments)
    except TypeError as error:
        return f"{word}: {error}"
    return ""
