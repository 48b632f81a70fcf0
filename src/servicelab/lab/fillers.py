"""Many Services at once: to see what their number does to a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from servicelab.verdict import deadlines, eventually

if TYPE_CHECKING:
    from servicelab.lab.lab import Lab
    from servicelab.lab.manifests import Document

LABEL = "servicelab/filler"
PORT = 80
#: The API server answers one request in some milliseconds, most of which it does not compute.
_AT_A_TIME = 8


class Fillers:
    """Services of a lab's namespace that are all alike, each with one endpoint written by hand.

    Without an endpoint, iptables mode would write a rule that refuses and nothing else.

    Args:
        lab: where they live.
        endpoint: the address that all of them lead to.
        port: the port there.
    """

    def __init__(self, lab: Lab, endpoint: str, port: int = PORT) -> None:
        self._lab = lab
        self._endpoint = endpoint
        self._port = port
        self._made: dict[str, str] = {}

    @property
    def addresses(self) -> Mapping[str, str]:
        """The address of each Service by its name, in the order in which they were made."""
        return self._made

    def __len__(self) -> int:
        return len(self._made)

    def grow_to(self, count: int) -> None:
        """Make further ones, until there are so many.

        Raises:
            kubernetes.client.ApiException: the API server refuses one; says why.
        """
        names = [f"filler-{number}" for number in range(len(self), count)]
        # First their endpoints: a Service whose endpoint is known is programmed once, not twice.
        self.add_endpoints(names)
        self.add_services(names)
        self._lab.fault.after_apply(self._lab)

    def add_endpoints(self, names: Iterable[str]) -> None:
        """Write the EndpointSlices of Services that are still to be made."""
        create = self._lab.discovery.create_namespaced_endpoint_slice
        self._create(create, [self._slice(name) for name in names])

    def add_services(self, names: Iterable[str]) -> None:
        """Make Services, and note their addresses."""
        create = self._lab.core.create_namespaced_service
        made = self._create(create, [_service(name) for name in names])
        self._made |= {each["metadata"]["name"]: each["spec"]["clusterIP"] for each in made}

    def remove(self) -> None:
        """Delete them all, and wait until the API server has none.

        Raises:
            NotProved: it still has some after `many_services_gone`, or so many times that as there
                are thousands of them.
        """
        from kubernetes.client.exceptions import ApiException

        patience = deadlines.current().many_services_gone
        thousands = max(1.0, len(self) / 1000)

        deletes: tuple[Any, ...] = (
            self._lab.core.delete_collection_namespaced_service,
            self._lab.discovery.delete_collection_namespaced_endpoint_slice,
        )
        with ThreadPoolExecutor(max_workers=len(deletes)) as deleting:

            def delete() -> list[str]:
                list(deleting.map(self._delete_all, deletes))
                return self._left()

            eventually(
                delete,
                lambda left: not left,
                deadline=replace(patience, seconds=patience.seconds * thousands),
                expecting=f"no filler Service in {self._lab.namespace}",
                tell=lambda left: f"left are {', '.join(left)}",
                # After a minute the API server gives up, and does the rest when asked again.
                retry_on=(ApiException,),
            )
        self._made.clear()

    def _delete_all(self, delete: Any) -> None:
        delete(self._lab.namespace, label_selector=LABEL, _preload_content=False)

    def _left(self) -> list[str]:
        lists: tuple[Any, ...] = (
            self._lab.core.list_namespaced_service,
            self._lab.discovery.list_namespaced_endpoint_slice,
        )
        found = [each(self._lab.namespace, label_selector=LABEL, limit=10).items for each in lists]
        return [str(item.metadata.name) for items in found for item in items]

    def _create(self, create: Any, documents: list[Document]) -> list[Any]:
        documents = self._lab.fault.documents(documents)
        with ThreadPoolExecutor(max_workers=_AT_A_TIME) as making:
            return list(making.map(partial(_created, create, self._lab.namespace), documents))

    def _slice(self, name: str) -> Document:
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "labels": {"kubernetes.io/service-name": name, LABEL: "true"},
            },
            "addressType": "IPv4",
            "ports": [{"port": self._port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [self._endpoint]}],
        }


def _service(name: str) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {LABEL: "true"}},
        "spec": {"ports": [{"port": PORT, "protocol": "TCP"}]},
    }


def _created(create: Any, namespace: str, document: Document) -> Any:
    # The client would make an object of each answer, which takes longer than the answer itself.
    return json.loads(create(namespace, document, _preload_content=False).data)
