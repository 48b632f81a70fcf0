"""What this lab's tests start from: two Pods, and Services in front of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from servicelab.lab import Lab, LabPod, Service, shared
from servicelab.vantage import PodVantage

Expose = Callable[[str, str], Service]


@dataclass
class Web:
    """web.yaml as it stands in a namespace, with a client Pod beside it."""

    lab: Lab
    pods: list[LabPod]
    client: PodVantage

    @property
    def pod_names(self) -> set[str]:
        """Names of the Pods, which they answer with."""
        return {pod.name for pod in self.pods}

    def pods_on(self, node: str) -> set[str]:
        """Names of those that run on a node."""
        return {pod.name for pod in self.pods if pod.node == node}


@pytest.fixture(scope=shared)
def web(shared_lab: Lab) -> Web:
    """The Pods, which no test changes."""
    return stand_up(shared_lab)


@pytest.fixture
def own_web(lab: Lab) -> Web:
    """For a disruptive test: under xdist another process may let a node die before it, and the Pods
    of that node come back with other addresses."""
    return stand_up(lab)


def stand_up(lab: Lab) -> Web:
    """Apply the Pods, and wait for them and a client."""
    lab.apply("web.yaml")
    client = lab.start_client()
    pods = lab.ready_pods("app=web", 2)
    lab.running_pod(client.pod)
    return Web(lab, pods, client)


@pytest.fixture
def expose(web: Web) -> Iterator[Expose]:
    """Make a Service of a manifest for this test: `expose("picked.yaml", "picked")`.

    It goes with the test, and its node port with it: another worker may be waiting for that number.
    """
    made: list[str] = []

    def make(manifest: str, name: str) -> Service:
        web.lab.apply(manifest)
        made.append(name)
        service = web.lab.service(name)
        service.settles_on(web.pods)
        return service

    yield make
    for name in dict.fromkeys(made):
        web.lab.delete_service(name)
