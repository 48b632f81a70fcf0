"""The course's own Pods beside the submissions: places to ask from, and proof that things work.

A point is lost only where the cluster is proved to do its work at that moment: a new Service of the
course's is reached from every place, and if Pods were missing, a new Pod has started.
"""

from __future__ import annotations

import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from servicelab.errors import InfrastructureError
from servicelab.lab.lab import Lab
from servicelab.pins import pins
from servicelab.verdict import NotProved, deadlines, eventually

if TYPE_CHECKING:
    from servicelab.cluster import Cluster
    from servicelab.vantage import NodeVantage, OutsideVantage, PodVantage

NAME = "control"
_CLIENTS = 2
#: At the same time; each is one Service, and a request from each place.
_PROOFS = 8


class Control:
    """A namespace of the course's, for as long as submissions are graded.

    Args:
        cluster: where submissions are graded.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.lab = Lab(cluster, Path(), "grading")
        self._lock = Lock()
        self._is_running = False
        self._proving = ThreadPoolExecutor(_PROOFS, thread_name_prefix="proof")
        self.lab.apply_documents([_pod(NAME)])
        workers = [node.name for node in cluster.nodes if node.role == "worker"]
        self._homes = workers or [cluster.nodes[0].name]
        self._clients = [
            self.lab.start_client(f"client-{number}", node=self._homes[number % len(self._homes)])
            for number in range(_CLIENTS)
        ]

    @cached_property
    def nodes(self) -> list[NodeVantage]:
        """A place on each node, control plane first."""
        return self.cluster.node_vantages

    @property
    def clients(self) -> list[PodVantage]:
        """Pods to ask from; they run."""
        self._wait_until_running()
        return self._clients

    @property
    def outside(self) -> OutsideVantage:
        """A host beside the cluster."""
        with self._lock:
            return self._outside

    @cached_property
    def _outside(self) -> OutsideVantage:
        outside = self.cluster.outside()
        self.lab.on_close(outside.remove)
        return outside

    def proving(self, pods: bool) -> Future[None]:
        """Begin to `prove`; the result comes when it is done."""
        return self._proving.submit(self.prove, pods=pods)

    def prove(self, *, pods: bool) -> None:
        """Whether the cluster does its work now.

        Args:
            pods: also start new Pods.

        Raises:
            InfrastructureError: it does not; says what.
        """
        from kubernetes.client.exceptions import ApiException

        name = f"{NAME}-{uuid.uuid4().hex[:6]}"
        # One on each node where Pods may run: one node may be slower than the others.
        new = {f"{name}-{number}": node for number, node in enumerate(self._homes if pods else ())}
        try:
            self._wait_until_running()
            self.lab.apply_documents(
                [_service(name), *(_pod(each, node) for each, node in new.items())]
            )
            service = self.lab.service(name)
            for place in (*self.nodes, self._clients[0]):
                eventually(
                    lambda place=place: place.get(service.url, timeout=1.0),  # type: ignore[misc]
                    lambda reply: reply.status == 200,
                    deadline=deadlines.current().control_answers,
                    expecting="the course's own Service to answer",
                    asked_from=place.name,
                    tell=lambda reply: reply.outcome,
                )
            for each in new:
                self.lab.running_pod(each)
        except NotProved as error:
            raise InfrastructureError(
                f"the cluster does not do its work: {_on_one_line(error)}",
                remedy="grade again; `servicelab doctor` may say more",
            ) from None
        finally:
            with suppress(ApiException):  # what was not made goes with the namespace
                self.lab.delete_service(name)
                for each in new:
                    self.lab.delete_pod(each, grace_seconds=0)

    def _wait_until_running(self) -> None:
        with self._lock:
            if self._is_running:
                return
            try:
                for name in (NAME, *(client.pod for client in self._clients)):
                    self.lab.running_pod(name)
            except NotProved as error:
                raise InfrastructureError(
                    f"the course's own Pods do not start: {_on_one_line(error)}",
                    remedy="`servicelab doctor` may say why",
                ) from None
            self._is_running = True

    def close(self) -> None:
        """Take it all away, once what is being proved is done."""
        self._proving.shutdown()
        self.lab.close()


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _pod(name: str, node: str | None = None) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": pins().agnhost_image,
        "args": ["netexec", "--http-port=80"],
        "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": NAME}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            **({"nodeName": node} if node else {}),
        },
    }


def _service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": 80}]},
    }
