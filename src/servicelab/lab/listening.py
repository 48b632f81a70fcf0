"""Ready Pods whose servers do not listen yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING

from servicelab.vantage.reply import ErrorClass
from servicelab.vantage.transport import TcpRequest
from servicelab.verdict import deadlines, eventually

if TYPE_CHECKING:
    from servicelab.lab.pods import LabPod
    from servicelab.vantage import Vantage
    from servicelab.vantage.replies import Replies
    from servicelab.vantage.reply import Reply


def until_listening(pods: Collection[LabPod], nodes: Iterable[Vantage]) -> None:
    """Wait until no TCP port that Pods declare refuses connections, asked from each Pod's node.

    Without a readiness probe a Pod is Ready once its containers have started, which is some
    milliseconds before its server listens, and longer on a busy machine.

    Args:
        pods: Ready ones.
        nodes: the vantage points of their nodes; others are not asked.

    Raises:
        NotProved: one is refused, within `pod_listens`; says which.
    """
    for node in nodes:
        here = [pod for pod in pods if pod.node == node.name]
        eventually(
            partial(node.ask, [TcpRequest(pod.ip, port) for pod in here for port in pod.ports]),
            lambda replies: not refused(replies),
            deadline=deadlines.current().pod_listens,
            expecting=f"the Ready Pods of {node.name} to listen on their container ports",
            asked_from=node.name,
            tell=lambda replies: f"refused: {', '.join(refused(replies))}",
        )


def refused(replies: Replies[Reply]) -> list[str]:
    """The targets that refused a connection."""
    return [each.request.target for each in replies if each.error is ErrorClass.REFUSED]
