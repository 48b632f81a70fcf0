"""Disrupting a cluster for a while, and proving that it is as it was before.

Whoever disrupts it puts it back; this module does not believe it. A cluster that does not come back
is deleted: nothing that is measured on it afterwards would be worth anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from servicelab.cluster.portrait import Portrait, differences, portrait, unsettled
from servicelab.cluster.readiness import prove_ready
from servicelab.errors import InfrastructureError
from servicelab.verdict import NotProved, deadlines, eventually

if TYPE_CHECKING:
    from servicelab.cluster.kind_cluster import Cluster

#: So many differences are told; more of them say no more.
_TOLD = 4


def _nothing_more(cluster: Cluster) -> None:
    return None


@contextmanager
def restored(
    cluster: Cluster, by: str, *, works: Callable[[Cluster], None] = _nothing_more
) -> Iterator[None]:
    """Let the cluster be disrupted, then prove it restored, or delete it.

    Args:
        cluster: nobody else may use it meanwhile.
        by: who disrupts it, for the message.
        works: a further proof, once it is as before; raises InfrastructureError.

    Raises:
        InfrastructureError: it did not come back, and was deleted.
    """
    # What is still cleaned up of earlier tests must not run into the disruption.
    cluster.finish_sweeping()
    before = _settled(cluster)
    try:
        yield
    finally:
        _prove_or_replace(cluster, before, by, works)
        cluster.finish_sweeping()


def prove_restored(cluster: Cluster, before: Portrait) -> None:
    """Wait until the cluster is as it was, and answers from every node.

    Raises:
        InfrastructureError: it is not within `cluster_restored`; says what is different.
    """
    _portrait_until(
        cluster,
        lambda facts: differences(before, facts),
        f"the cluster {cluster.name} to be as it was before",
    )
    prove_ready(cluster)


def _settled(cluster: Cluster) -> Portrait:
    """The cluster's portrait once nothing is under way any more, as there is after its start."""
    return _portrait_until(
        cluster, unsettled, f"nodes, system's Pods and kube-proxies of {cluster.name} to be ready"
    )


def _portrait_until(
    cluster: Cluster, amiss: Callable[[Portrait], list[str]], expecting: str
) -> Portrait:
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    def told(facts: Portrait) -> str:
        found = amiss(facts)
        more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        return "; ".join(found[:_TOLD]) + more

    try:
        return eventually(
            lambda: portrait(cluster),
            lambda facts: not amiss(facts),
            deadline=deadlines.current().cluster_restored,
            expecting=expecting,
            every=0.5,
            tell=told,
            retry_on=(ApiException, HTTPError, InfrastructureError),
        )
    except NotProved as error:
        raise InfrastructureError(str(error)) from None


def _prove_or_replace(
    cluster: Cluster, before: Portrait, by: str, works: Callable[[Cluster], None]
) -> None:
    try:
        prove_restored(cluster, before)
        works(cluster)
    except InfrastructureError as error:
        cluster.delete()
        raise InfrastructureError(
            f"the cluster {cluster.name} was deleted, as {by} left it changed: {error.problem}",
            remedy="tests that follow get a new cluster; the verdicts measured before stand",
        ) from error
