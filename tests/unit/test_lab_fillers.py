"""Many Services are made and taken away, and what a fault changes is changed in each."""

from __future__ import annotations

import json
from types import SimpleNamespace as Thing
from typing import Any

import pytest
from kubernetes.client.exceptions import ServiceException

from servicelab.lab.faults import Fault, in_services
from servicelab.lab.fillers import LABEL, Fillers
from servicelab.verdict import NotProved, deadlines


class FakeApi:
    """Services and EndpointSlices of a namespace; gives Services addresses in turn."""

    def __init__(self, *, gives_up: int = 0) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {"Service": [], "EndpointSlice": []}
        self.gives_up = gives_up

    def _create(self, namespace: str, document: dict[str, Any], **options: Any) -> Any:
        made = json.loads(json.dumps(document))
        objects = self.objects[made["kind"]]
        objects.append(made)
        if made["kind"] == "Service":
            made["spec"]["clusterIP"] = f"10.96.0.{len(objects)}"
        return Thing(data=json.dumps(made))

    create_namespaced_service = create_namespaced_endpoint_slice = _create

    def _delete(self, kind: str, label_selector: str) -> None:
        assert label_selector == LABEL
        if self.gives_up:
            self.gives_up -= 1
            raise ServiceException(status=504)
        self.objects[kind].clear()

    def _list(self, kind: str, label_selector: str) -> Any:
        assert label_selector == LABEL
        named = [
            Thing(metadata=Thing(name=each["metadata"]["name"])) for each in self.objects[kind]
        ]
        return Thing(items=named)

    def delete_collection_namespaced_service(self, namespace: str, **options: Any) -> None:
        self._delete("Service", options["label_selector"])

    def delete_collection_namespaced_endpoint_slice(self, namespace: str, **options: Any) -> None:
        self._delete("EndpointSlice", options["label_selector"])

    def list_namespaced_service(self, namespace: str, **options: Any) -> Any:
        return self._list("Service", options["label_selector"])

    def list_namespaced_endpoint_slice(self, namespace: str, **options: Any) -> Any:
        return self._list("EndpointSlice", options["label_selector"])


def fillers(api: FakeApi, fault: Fault | None = None) -> Fillers:
    lab = Thing(core=api, discovery=api, namespace="scale", fault=fault or Fault())
    return Fillers(lab, "10.244.1.9")  # type: ignore[arg-type]


def test_each_leads_to_the_endpoint() -> None:
    """As many as asked for are made, each with a slice of its own, and their addresses known."""
    api = FakeApi()
    made = fillers(api)

    made.grow_to(2)
    made.grow_to(5)

    assert len(made) == 5
    services, slices = api.objects["Service"], api.objects["EndpointSlice"]
    assert {each["metadata"]["name"]: each["spec"]["clusterIP"] for each in services} == dict(
        made.addresses
    )
    of = {each["metadata"]["labels"]["kubernetes.io/service-name"] for each in slices}
    assert of == set(made.addresses)
    assert all(each["endpoints"] == [{"addresses": ["10.244.1.9"]}] for each in slices)


def test_growing_to_what_is_there_makes_nothing() -> None:
    """Only what is missing is made."""
    api = FakeApi()
    made = fillers(api)
    made.grow_to(3)
    made.grow_to(3)

    assert len(api.objects["Service"]) == 3


def test_a_fault_changes_them() -> None:
    """A refuter's fault reaches them as it reaches what is applied."""
    api, grown = FakeApi(), []
    fault = in_services(sessionAffinity="ClientIP")
    made = fillers(api, Fault(fault.documents, grown.append))

    made.grow_to(2)

    assert [each["spec"]["sessionAffinity"] for each in api.objects["Service"]] == ["ClientIP"] * 2
    assert len(grown) == 1


def test_all_are_removed() -> None:
    """Services and slices go, also where the API server needs to be asked again."""
    api = FakeApi(gives_up=1)
    made = fillers(api)
    made.grow_to(4)

    made.remove()

    assert api.objects == {"Service": [], "EndpointSlice": []}
    assert len(made) == 0


def test_what_stays_is_told() -> None:
    """If the API server never does it, the message names what is left."""
    api = FakeApi(gives_up=10**6)
    made = fillers(api)
    made.grow_to(1)
    before = deadlines.use(deadlines.parse(["many_services_gone=0.05"]))
    try:
        with pytest.raises(NotProved, match=r"no filler Service in scale(.|\n)*504"):
            made.remove()
    finally:
        deadlines.use(before)


def test_of_more_services_the_end_is_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server deletes one after the other."""
    waited: list[float] = []
    monkeypatch.setattr(
        "servicelab.lab.fillers.eventually",
        lambda *args, deadline, **options: waited.append(deadline.seconds),
    )
    for count in (1, 1000, 2500):
        made = fillers(FakeApi())
        made.grow_to(count)
        made.remove()

    assert waited == [120, 120, 300]
