"""MetalLB's manifest, webhook, pools and events, with a fake API server."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import SimpleNamespace as Object
from typing import Any

import pytest
import yaml
from filelock import FileLock, Timeout
from kubernetes.client.exceptions import ApiException

from servicelab.errors import UsageError
from servicelab.lab.faults import NO_FAULT, in_documents
from servicelab.lab.manifests import parse_manifest
from servicelab.metallb import vip, webhook
from servicelab.metallb.addresses import AddressRange
from servicelab.metallb.manifest import prepared
from servicelab.metallb.network import ClusterNetwork
from servicelab.metallb.pools import Pools
from servicelab.verdict import NotProved, deadlines

MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: metallb-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: controller, namespace: metallb-system}
spec:
  template:
    spec:
      containers:
        - name: controller
          image: quay.io/metallb/controller:v0.15.3
          readinessProbe: {initialDelaySeconds: 10, periodSeconds: 10, failureThreshold: 3}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: speaker, namespace: metallb-system}
spec:
  template:
    spec:
      containers: [{name: speaker, image: "quay.io/metallb/speaker:v0.15.3"}]
"""
POOL = """
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: first-pool, namespace: metallb-system}
spec: {addresses: [172.18.255.200-172.18.255.250]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: example, namespace: metallb-system}
spec: {ipAddressPools: [first-pool]}
"""
LATE = 'Internal error occurred: failed calling webhook "x.metallb.io": connection refused'


class FakeResource:
    """One kind of MetalLB's."""

    def __init__(self, api: FakeApi, kind: str) -> None:
        self.api, self.kind = api, kind

    def server_side_apply(self, body: Any, name: str, namespace: str, **options: Any) -> None:
        """Store it, unless this is a dry run or something is to go wrong first."""
        assert namespace == body["metadata"]["namespace"] == "metallb-system"
        if self.api.errors:
            raise self.api.errors.pop(0)
        if "dry_run" not in options:
            self.api.stored[self.kind, name] = body

    def get(self, namespace: str) -> Any:
        """List them."""
        found = [body for (kind, _), body in self.api.stored.items() if kind == self.kind]
        specs = [Object(spec=Object(addresses=body["spec"]["addresses"])) for body in found]
        return Object(items=specs)

    def delete(self, name: str, namespace: str) -> None:
        """Delete it."""
        if self.api.stored.pop((self.kind, name), None) is None:
            raise ApiException(status=404)


class FakeApi:
    """The dynamic client of an API server with MetalLB's kinds."""

    def __init__(self, *errors: ApiException) -> None:
        self.errors = list(errors)
        self.stored: dict[tuple[str, str], Any] = {}
        self.resources = self

    def get(self, api_version: str, kind: str) -> FakeResource:
        """A kind."""
        assert api_version.startswith("metallb.io/")
        return FakeResource(self, kind)


def error(status: int, message: str) -> ApiException:
    """What the client raises for an answer of the API server."""
    raised = ApiException(status=status, reason="whatever")
    raised.body = json.dumps({"message": message})
    return raised


def cluster(api: FakeApi) -> Any:
    """A cluster with that API server."""
    return Object(dynamic=api, name="one")


class FakeLab:
    """A lab's namespace; runs what is to be undone when it ends."""

    def __init__(self, namespace: str = "lab-1", fault: Any = NO_FAULT) -> None:
        self.namespace, self.fault = namespace, fault
        self.undo: list[Any] = []

    def on_close(self, undo: Any) -> None:
        """Remember it."""
        self.undo.append(undo)

    def close(self) -> None:
        """Undo it all, last come first."""
        for undo in reversed(self.undo):
            undo()


@pytest.fixture
def pools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pools:
    """Pools of a cluster on 172.30.0.0/24."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path))
    network = ClusterNetwork(IPv4Network("172.30.0.0/24"), (IPv4Address("172.30.0.231"),))
    return Pools(cluster(FakeApi()), network, AddressRange.parse("172.30.0.231-172.30.0.254"))


@pytest.fixture
def impatient() -> Any:
    """No wait takes long."""
    names = {"webhook_answers": 0.3, "vip_given": 0.3}
    before = deadlines.use(deadlines.current().changed(names))
    yield
    deadlines.use(before)


def test_the_manifest_is_marked_as_ours_and_asked_at_once() -> None:
    """Its readiness probes lose their 10 s; all else stays, so that its images can be rewritten."""
    namespace, controller, speaker = prepared(MANIFEST, "the manifest")

    probe = controller["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    assert probe == {"initialDelaySeconds": 0, "periodSeconds": 1, "failureThreshold": 3}
    assert namespace["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "servicelab"}
    assert speaker == list(yaml.safe_load_all(MANIFEST))[2]


def test_a_late_webhook_is_waited_for() -> None:
    """The API server can't call it yet: the same is applied again."""
    api = FakeApi(error(500, LATE), error(500, LATE))
    pool, _ = parse_manifest(POOL, "the text")

    webhook.apply(cluster(api), pool)

    assert ("IPAddressPool", "first-pool") in api.stored


def test_asking_whether_the_webhook_is_there_stores_nothing() -> None:
    """It is a dry run."""
    api = FakeApi(error(500, LATE))

    webhook.wait_for_webhook(cluster(api))

    assert not api.stored
    assert not api.errors


@pytest.mark.usefixtures("impatient")
def test_a_webhook_that_never_answers_is_told() -> None:
    """The wait has a name, and shows what the API server says."""
    api = FakeApi(*[error(500, LATE)] * 50)

    with pytest.raises(NotProved, match="webhook_answers") as told:
        webhook.wait_for_webhook(cluster(api))

    assert "connection refused" in str(told.value)


def test_a_pool_that_metallb_refuses_is_a_usage_error() -> None:
    """In MetalLB's own words, and not tried again."""
    denied = 'admission webhook "x" denied the request: CIDR "1-2" overlaps'
    api = FakeApi(error(403, denied))
    pool, _ = parse_manifest(POOL, "the text")

    with pytest.raises(UsageError, match=r"IPAddressPool first-pool is refused: .*overlaps"):
        webhook.apply(cluster(api), pool)


def test_any_other_error_passes_through() -> None:
    """An API server in trouble says nothing about the pool."""
    pool, _ = parse_manifest(POOL, "the text")

    with pytest.raises(ApiException):
        webhook.apply(cluster(FakeApi(error(500, "etcd is gone"))), pool)


def test_a_pool_is_for_one_namespace_under_names_of_its_own(pools: Pools) -> None:
    """What advertises it names it; a container's address is left out; all goes with the lab."""
    lab: Any = FakeLab()
    api = pools.cluster.dynamic

    pool = pools.apply(lab, parse_manifest(POOL, "the text"), addresses=2)

    assert (pool.name, pool.first) == ("first-pool-lab-1", "172.30.0.232")
    assert pool.addresses == ("172.30.0.232", "172.30.0.233")
    stored = api.stored["IPAddressPool", "first-pool-lab-1"]["spec"]
    assert stored["addresses"] == ["172.30.0.232-172.30.0.233"]
    assert stored["serviceAllocation"] == {"namespaces": ["lab-1"]}
    advertisement = api.stored["L2Advertisement", "example-lab-1"]["spec"]
    assert advertisement["ipAddressPools"] == ["first-pool-lab-1"]
    lab.close()
    assert not api.stored
    pools.delete(pool)  # twice does no harm


def test_two_labs_pools_are_disjoint(pools: Pools) -> None:
    """The API knows which addresses are taken, whoever took them."""
    one: Any = FakeLab("lab-1")
    other: Any = FakeLab("lab-2")

    first = pools.apply(one, parse_manifest(POOL, "the text"), addresses=3)
    second = pools.apply(other, parse_manifest(POOL, "the text"), addresses=3)

    assert not first.range.overlaps(second.range)


def test_a_lab_s_fault_changes_its_pool(pools: Pools) -> None:
    """A refuter can leave addresses away, or name others; those are checked too."""
    fault = in_documents("IPAddressPool", lambda pool: pool["spec"].update(addresses=["10.0.0.1"]))
    lab: Any = FakeLab(fault=fault)

    with pytest.raises(UsageError, match="lies outside the cluster's network"):
        pools.apply(lab, parse_manifest(POOL, "the text"), addresses=2)

    assert not pools.cluster.dynamic.stored


def test_addresses_outside_the_network_are_refused_before_anything_is_applied(pools: Pools) -> None:
    """Named ones are checked as well."""
    lab: Any = FakeLab()

    with pytest.raises(UsageError, match=r"choose addresses from 172.30.0.231-172.30.0.254"):
        pools.apply(
            lab, parse_manifest(POOL, "the text"), addresses=AddressRange.parse("10.0.0.1-10.0.0.9")
        )

    assert not pools.cluster.dynamic.stored


class FakeCore:
    """Services and their events."""

    def __init__(self, ips: list[str], events: list[tuple[str, str]]) -> None:
        ingress = [Object(ip=ip) for ip in ips] or None
        status = Object(load_balancer=Object(ingress=ingress))
        self.service = Object(metadata=Object(name="web"), status=status)
        self.events = [
            Object(
                metadata=Object(name=f"e{at}", resource_version=str(at)),
                reason=reason,
                message=text,
            )
            for at, (reason, text) in enumerate(events, start=9)
        ]

    def read_namespaced_service(self, name: str, namespace: str) -> Any:
        """The Service."""
        return self.service

    def list_namespaced_service(self, **selection: Any) -> Any:
        """The Service, in a list."""
        return Object(items=[self.service], metadata=Object(resource_version="1"))

    def list_namespaced_event(self, *args: str, field_selector: str = "", **more: Any) -> Any:
        """Its events."""
        reason = field_selector.partition("reason=")[2]
        found = [each for each in self.events if reason in ("", each.reason)]
        return Object(items=found, metadata=Object(resource_version="1"))


def service(ips: list[str], *events: tuple[str, str]) -> Any:
    """A Service with external addresses and events."""

    class Web(Object):
        def __str__(self) -> str:
            return "Service lab-1/web"

        def read(self) -> Any:
            return self.lab.core.service

    return Web(lab=Object(core=FakeCore(ips, list(events))), name="web", namespace="lab-1")


@pytest.fixture
def no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing ever changes."""
    monkeypatch.setattr("servicelab.verdict.watching._api_watch", lambda *args, **more: iter(()))


def test_an_address_is_what_the_status_says() -> None:
    """None while it is pending."""
    assert vip.external_ips(service([])) == ()
    assert vip.wait_for_address(service(["172.30.0.231"]), "172.30.0.231") == "172.30.0.231"


@pytest.mark.usefixtures("impatient", "no_watch")
def test_a_pending_service_says_what_metallb_says() -> None:
    """The event that gives the reason stands in the message."""
    pending = service([], ("AllocationFailed", 'Failed to allocate IP for "web": no available IPs'))

    with pytest.raises(NotProved, match=r"<pending>: Failed to allocate IP .*: no available IPs"):
        vip.wait_for_address(pending)


@pytest.mark.usefixtures("impatient", "no_watch")
def test_another_address_than_the_wanted_one_is_no_success() -> None:
    """Both are named."""
    with pytest.raises(NotProved, match=r"the address 172\.30\.0\.9(.|\n)*172\.30\.0\.231"):
        vip.wait_for_address(service(["172.30.0.231"]), "172.30.0.9")


def test_the_latest_announcer_counts() -> None:
    """Each node that takes the address over says so in an event."""
    moved = service(
        ["172.30.0.231"],
        ("nodeAssigned", 'announcing from node "worker" with protocol "layer2"'),
        ("nodeAssigned", 'announcing from node "worker2" with protocol "layer2"'),
    )

    assert vip.wait_for_announcer(moved) == "worker2"


def test_a_refusal_is_what_the_event_says() -> None:
    """The Service stays pending, and MetalLB's words tell why."""
    said = 'Failed to allocate IP for "web": no available IPs'

    assert vip.wait_for_refusal(service([], ("AllocationFailed", said))) == said


def test_an_address_is_no_refusal() -> None:
    """It is told at once, without waiting for an event that never comes."""
    with pytest.raises(NotProved, match=r"gave up(.|\n)*it was given 172\.30\.0\.231"):
        vip.wait_for_refusal(service(["172.30.0.231"], ("AllocationFailed", "earlier")))


def test_who_keeps_others_from_taking_addresses_may_take_some(pools: Pools) -> None:
    """Within `alone` the same process goes on, and another one has to wait."""
    with pools.alone() as lock, pools.alone(), pytest.raises(Timeout):
        FileLock(lock.lock_file, timeout=0).acquire()
