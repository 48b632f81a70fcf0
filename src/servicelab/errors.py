"""One tree of errors; each says in one sentence what is wrong, where, and what to do."""

from __future__ import annotations


class ServicelabError(Exception):
    """Something stopped servicelab.

    Args:
        problem: what is wrong and where, one sentence, without a full stop at the end.
        remedy: what the user can do about it; empty if there is nothing.
    """

    exit_code = 3

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem


class UsageError(ServicelabError):
    """What the user gave (an option, a file, a setting) can't be used."""

    exit_code = 2


class InfrastructureError(ServicelabError):
    """The engine, the images or the cluster failed; says nothing about any claim."""

    exit_code = 3


class NotAsked(ServicelabError):
    """The question can't be put to this cluster; says nothing about any claim.

    A test that meets it is skipped, with this as the reason.
    """

    exit_code = 3
