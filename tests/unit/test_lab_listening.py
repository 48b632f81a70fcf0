"""Ready is not yet listening."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from servicelab.lab.listening import until_listening
from servicelab.lab.pods import LabPod
from servicelab.vantage.channel import ChannelBroken
from servicelab.vantage.replies import Replies
from servicelab.vantage.reply import ErrorClass
from servicelab.vantage.request import Request
from servicelab.vantage.transport import TcpReply, TcpRequest
from servicelab.vantage.vantage import Vantage
from servicelab.verdict import NotProved, deadlines


class Late(Vantage):
    """A node whose Pods give each of these answers once, then the last for ever."""

    def __init__(self, name: str, *errors: ErrorClass | None) -> None:
        def never() -> None:
            raise ChannelBroken("asked a node that no Pod is on")

        super().__init__(name, never)  # type: ignore[arg-type]
        self.errors = list(errors)
        self.asked: list[list[str]] = []

    def ask(self, requests: Sequence[Request], *, workers: int = 1) -> Replies[TcpReply]:
        if not requests:
            return super().ask(requests)  # type: ignore[return-value]
        self.asked.append([each.target for each in requests])
        error = self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]
        asked = [each for each in requests if isinstance(each, TcpRequest)]
        return Replies(TcpReply(request=each, error=error) for each in asked)


def pod(name: str, node: str, *ports: int) -> LabPod:
    return LabPod(name, "10.244.1.5", node, True, {}, ports)


def test_a_ready_pod_is_waited_for_until_it_listens() -> None:
    node = Late("worker", ErrorClass.REFUSED, ErrorClass.REFUSED, None)
    until_listening([pod("web", "worker", 80, 81)], [node])
    assert node.asked == [["tcp 10.244.1.5:80", "tcp 10.244.1.5:81"]] * 3


def test_one_that_never_listens_is_named() -> None:
    node = Late("worker", ErrorClass.REFUSED)
    with (
        deadlines.multiplied(0.01),
        pytest.raises(NotProved, match=r"refused: tcp 10\.244\.1\.5:80"),
    ):
        until_listening([pod("web", "worker", 80)], [node])


def test_what_is_not_refused_is_not_waited_for() -> None:
    """Whoever drops packets to a Pod, or asks about its silence, does so on purpose."""
    node = Late("worker", ErrorClass.TIMEOUT)
    until_listening([pod("web", "worker", 80)], [node])
    assert len(node.asked) == 1


def test_pods_without_ports_and_other_nodes_are_not_asked() -> None:
    until_listening([pod("client", "worker")], [Late("worker"), Late("worker2")])
