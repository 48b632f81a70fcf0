"""An API server of a few dictionaries, for tests of a grading Job."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace as Object
from typing import Any

import pytest
from kubernetes.client import ApiException

from servicelab.grading.job.rights import DENIED
from servicelab.progress import Progress


def as_object(said: Any) -> Any:
    """What the official client makes of plain data, as far as it is used: names in snake case."""
    if isinstance(said, Mapping):
        return Object(**{_snake(key): as_object(value) for key, value in said.items()})
    return said


def _snake(name: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name)


class FakeApi:
    """Every API in one; what is made is kept, and each call is noted by its verb and its kind.

    Attributes:
        made: what stands there, by kind and name.
        calls: "create namespace NAME", in order.
        refuses: kinds that it does not let anybody make.
        on_job: what the Pods do, once the Job is made.
    """

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.refuses: set[str] = set()
        self.on_job: Callable[[], object] = lambda: None
        self.job: Any = None
        self.pods: list[Any] = []
        self.namespaces: list[Any] = []
        self._versions = itertools.count(1)

    def grade_map(self, body: dict[str, Any]) -> None:
        """Put a grade's ConfigMap there, over one of its name."""
        metadata = Object(**body["metadata"], resource_version=str(next(self._versions)))
        self.made.setdefault("grade", {})[metadata.name] = Object(
            metadata=metadata, data=body["data"]
        )

    def ended(self, type_: str = "Complete", reason: str = "", message: str = "") -> None:
        """Let the Job have ended."""
        self.job.status.conditions = [
            Object(type=type_, status="True", reason=reason, message=message)
        ]

    def kept(self, kind: str) -> list[str]:
        """The names of what stands there."""
        return sorted(self.made.get(kind, {}))

    # What the client's methods are called.

    def __getattr__(self, method: str) -> Callable[..., Any]:
        verb, _, kind = method.partition("_")
        if verb not in ("create", "delete", "read"):
            raise AttributeError(method)
        kind = kind.removeprefix("namespaced_")

        def call(*args: Any, **_: Any) -> Any:
            if verb == "create":
                body = args[-1]
                return self._create(kind, body)
            self.calls.append(f"{verb} {kind} {args[0]}")
            there = self.made.get(kind, {})
            if args[0] not in there:
                raise ApiException(status=404, reason="Not Found")
            return there.pop(args[0]) if verb == "delete" else there[args[0]]

        return call

    def _create(self, kind: str, body: Any) -> Any:
        if kind == "subject_access_review":
            bound = self.kept("cluster_role_binding")
            return Object(status=Object(allowed=bool(bound)))
        metadata = body["metadata"] if isinstance(body, dict) else None
        name = metadata["name"] if metadata else body.metadata.name
        self.calls.append(f"create {kind} {name}")
        if kind in self.refuses:
            raise ApiException(status=403, reason="Forbidden")
        self.made.setdefault(kind, {})[name] = Object(
            metadata=Object(name=name, uid="uid"), body=body
        )
        if kind == "job":
            self.job = Object(
                metadata=Object(name=name, resource_version="1"), status=Object(conditions=None)
            )
            self.on_job()
        return body

    def delete_collection_namespaced_service(self, namespace: str, **_: Any) -> None:
        """There are none."""

    def delete_collection_namespaced_pod(self, namespace: str, **_: Any) -> None:
        """They are killed."""
        self.calls.append(f"kill pods {namespace}")

    def list_namespace(self, **_: Any) -> Any:
        """The namespaces of labs."""
        return _page(self.namespaces)

    def list_namespaced_service_account(self, **_: Any) -> Any:
        """The default one is there at once."""
        return _page([Object(metadata=Object(name="default"))])

    def list_namespaced_config_map(self, *_: Any, **__: Any) -> Any:
        """The grades."""
        return _page(list(self.made.get("grade", {}).values()))

    def list_namespaced_job(self, **_: Any) -> Any:
        """The Job, unless somebody has deleted it."""
        return _page([self.job] if self.job else [])

    def list_namespaced_pod(self, *_: Any, **__: Any) -> Any:
        """Its Pods."""
        return _page(self.pods)


def _page(items: list[Any]) -> Any:
    return Object(items=items, metadata=Object(resource_version="1"))


def pod(
    index: int, phase: str = "Running", *, waiting: str = "", exit_code: int | None = None,
    message: str = "", reason: str = "Error",
) -> Any:  # fmt: skip
    """A Pod of the Job."""
    state = Object(
        waiting=Object(reason=waiting) if waiting else None,
        terminated=None
        if exit_code is None
        else Object(exit_code=exit_code, message=message, reason=reason),
    )
    container = Object(state=state, name="grader", image="grader:1", ready=False, restart_count=0)
    return Object(
        metadata=Object(
            name=f"job-{index}-abcde",
            creation_timestamp=index,
            deletion_timestamp=None,
            annotations={"batch.kubernetes.io/job-completion-index": str(index)},
        ),
        status=Object(
            phase=phase,
            reason=None,
            message=None,
            conditions=None,
            container_statuses=[container],
        ),
    )


class FakeCluster:
    """A cluster that is there.

    Attributes:
        released: how often it was.
    """

    ours = False
    name = "far"
    kubernetes_version = "v1.37.0"
    registry = None

    def __init__(self, api: FakeApi) -> None:
        self.client = api
        self.progress = Progress(quiet=True)
        self.released = 0

    @property
    def dynamic(self) -> Any:
        """Whose only question is whether the admission policy is in force; it is."""

        def refuse(*_: Any, **__: Any) -> None:
            error = ApiException(status=422, reason="Invalid")
            error.body = json.dumps({"message": f"ValidatingAdmissionPolicy: {DENIED}"})
            raise error

        def resource(*, kind: str, **_: Any) -> Any:
            return Object(kind=kind, path=lambda namespace: namespace)

        def listed(resource: Any, **_: Any) -> Any:
            held = ["batch.kubernetes.io/job-tracking"] if resource.kind == "Pod" else None
            return Object(items=[Object(metadata=Object(name="held", finalizers=held))])

        def patch(resource: Any, *, body: Any, name: str, **_: Any) -> None:
            assert body == {"metadata": {"finalizers": None}}
            self.client.calls.append(f"free {resource.kind} {name}")

        return Object(resources=Object(get=resource), request=refuse, get=listed, patch=patch)

    def create(self) -> None:
        """The probes are there."""

    def release(self) -> None:
        """They are taken away."""
        self.released += 1

    def localised(self, documents: list[Any]) -> list[Any]:
        """As they are."""
        return documents


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """An API server, behind every class of the official client."""
    fake = FakeApi()
    for name in (
        *("CoreV1Api", "BatchV1Api", "RbacAuthorizationV1Api"),
        *("AdmissionregistrationV1Api", "AuthorizationV1Api"),
    ):
        monkeypatch.setattr(f"kubernetes.client.{name}", lambda client: client)

    def changes(*_: Any, **__: Any) -> Iterator[Any]:
        time.sleep(0.005)  # a watch that ends without news; the list is asked again
        return iter(())

    monkeypatch.setattr("servicelab.verdict.watching._api_watch", changes)
    return fake
