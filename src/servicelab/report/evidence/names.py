"""What an address belongs to, for pictures that people read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from servicelab.errors import ServicelabError

if TYPE_CHECKING:
    from servicelab.lab import Lab

#: An answer of the API server that is not what it should be.
_UNEXPECTED = (AttributeError, KeyError, TypeError, ValueError)


def names_of(lab: Lab) -> dict[str, str]:
    """The Services, Pods and nodes of a lab by address; what can't be had is left out."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    from servicelab.report.evidence.sources import Api

    try:
        api = Api(lab.cluster)
        return {
            **{node.ip: f"node {node.name}" for node in lab.cluster.nodes},
            **dict(_pods(api.items("core", "list_namespaced_pod", lab.namespace))),
            **dict(_services(api.items("core", "list_namespaced_service", lab.namespace))),
        }
    except (ApiException, HTTPError, ServicelabError, *_UNEXPECTED):
        return {}


def _pods(pods: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for pod in pods:
        # A Pod in its node's network has the node's address, which says less about the Pod.
        if not pod["spec"].get("hostNetwork"):
            for each in pod.get("status", {}).get("podIPs") or ():
                yield each["ip"], f"Pod {pod['metadata']['name']}"


def _services(services: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for service in services:
        name = f"Service {service['metadata']['name']}"
        spec = service["spec"]
        ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
        addresses = [*(spec.get("clusterIPs") or ()), *(spec.get("externalIPs") or ())]
        addresses += [each.get("ip") for each in ingress]
        yield from ((address, name) for address in addresses if address and address != "None")
