"""Three Pods, the Service in front of them, and a client: what each mode is asked about."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from servicelab.lab import Lab, LabPod, Service, shared
from servicelab.vantage import PodVantage


@dataclass
class Web:
    """web.yaml as it stands in a namespace, with a client Pod beside it."""

    lab: Lab
    service: Service
    pods: list[LabPod]
    client: PodVantage

    @property
    def pod_names(self) -> set[str]:
        """Names of the Pods behind the Service, which they answer with."""
        return {pod.name for pod in self.pods}


def stand_up(lab: Lab) -> Web:
    """Apply web.yaml, start a client meanwhile, and wait until every node leads to the Pods."""
    lab.apply("web.yaml")
    client = lab.start_client()
    pods = lab.ready_pods("app=web", 3)
    service = lab.service("web")
    service.settles_on(pods)
    lab.running_pod(client.pod)
    return Web(lab, service, pods, client)


@pytest.fixture(scope=shared)
def web(shared_lab: Lab) -> Web:
    """For tests that only look."""
    return stand_up(shared_lab)


@pytest.fixture
def own_web(lab: Lab) -> Web:
    """For tests that change something: a namespace of the test's own."""
    return stand_up(lab)
