"""What most of this lab's tests start from: three Pods, a Service, a client."""

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


def stand_up(lab: Lab, manifest: str, name: str, selector: str, count: int) -> Web:
    """Apply a manifest, start a client meanwhile, and wait until the rules lead to the Pods."""
    lab.apply(manifest)
    client = lab.start_client()
    pods = lab.ready_pods(selector, count)
    service = lab.service(name)
    service.settles_on(pods)
    lab.running_pod(client.pod)
    return Web(lab, service, pods, client)


@pytest.fixture(scope=shared)
def web(shared_lab: Lab) -> Web:
    """For tests that only look: the Pods and the Service are not changed."""
    return stand_up(shared_lab, "web.yaml", "web", "app=web", 3)


@pytest.fixture
def own_web(lab: Lab) -> Web:
    """For tests that change something: a namespace of the test's own."""
    return stand_up(lab, "web.yaml", "web", "app=web", 3)


@pytest.fixture
def pages(lab: Lab) -> Web:
    """Two Pods, web1 and web2."""
    return stand_up(lab, "pages.yaml", "pages", "app=pages", 2)
