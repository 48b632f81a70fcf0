"""MetalLB gives a Service its address: which one, when there is none, and when it is wanted."""

from __future__ import annotations

from functools import partial

import pytest

from servicelab import claim, consistently
from servicelab.lab.manifests import read_manifest
from servicelab.metallb import vip, webhook
from servicelab.verdict import deadlines

WANTED = "metallb.io/loadBalancerIPs"


def stays_pending(service) -> None:
    """The Service gets no address for a while."""
    consistently(
        lambda: vip.external_ips(service),
        lambda ips: ips == (),
        for_=deadlines.current().stays_so,
        expecting=f"{service} to stay pending",
        tell=lambda ips: ", ".join(ips) or "<pending>",
    )


@claim("LB-03")
def test_the_pending_service_gets_the_pool_s_first_address(lab, metallb):
    """A pool and its advertisement are applied, and the Service that waited has an address."""
    lab.apply("web.yaml")
    web = lab.service("web")
    assert vip.external_ips(web) == (), "it has an address before there is a pool"

    pool = metallb.pool(lab, addresses=3)

    address = vip.wait_for_address(web, pool.first)
    row = lab.kubectl("get", "service", "web", "--no-headers").split()
    assert row[3] == address, f"kubectl get shows the EXTERNAL-IP {row[3]}"


@claim("LB-08")
def test_an_exhausted_pool_and_a_freed_address(lab, metallb, answers):
    """The second Service waits, an event says why, and it gets what the first one gives back."""
    pool = metallb.pool(lab, addresses=1)
    lab.apply("web.yaml")
    vip.wait_for_address(lab.service("web"), pool.first)

    lab.apply("late.yaml")
    late = lab.service("late")
    said = vip.wait_for_refusal(late)
    assert "no available IPs" in said, f"the event says: {said}"
    assert vip.external_ips(late) == (), "it has an address all the same"

    pods = lab.ready_pods("app=web", 2)
    lab.delete_service("web")
    address = vip.wait_for_address(late, pool.first)
    late.settles_on(pods)
    answers(f"http://{address}:8090")


@claim("LB-09")
def test_the_configmap_of_old_is_not_read(lab, metallb, cluster, verdict):
    """With the ConfigMap the Service stays pending; an IPAddressPool with its range serves it."""
    lab.apply("web.yaml")
    web = lab.service("web")
    (config,) = read_manifest(lab.folder / "config-v0.12.yaml")
    resource = cluster.dynamic.resources.get(api_version="v1", kind="ConfigMap")
    name, namespace = config["metadata"]["name"], config["metadata"]["namespace"]
    lab.on_close(partial(resource.delete, name=name, namespace=namespace))
    with metallb.pools.alone():  # The range must be nobody's while the ConfigMap has it to itself.
        pool_range = metallb.pools.free(3)
        config["data"]["config"] = config["data"]["config"].replace(
            "172.18.255.200-172.18.255.250", str(pool_range)
        )
        resource.server_side_apply(
            body=config, name=name, namespace=namespace, field_manager=webhook.FIELD_MANAGER
        )

        stays_pending(web)
        pool = metallb.pool(lab, addresses=pool_range)
    address = vip.wait_for_address(web, pool.first)

    verdict.changed(
        f"the ConfigMap gives no address, an IPAddressPool with its range gave {address}"
    )


@claim("LB-10")
def test_wanted_and_shared_addresses(lab, metallb, outside, answers):
    """An address in the pool is given as wanted, shared with the key, and refused otherwise."""
    pool = metallb.pool(lab, addresses=3)
    address = pool.addresses[2]
    lab.apply("pair.yaml")
    services = read_manifest(lab.folder / "wanted.yaml")
    for service in services[:3]:
        service["metadata"]["annotations"][WANTED] = address
    # One after the other: the address belongs to whoever comes first.
    for service in services:
        lab.apply_documents([service])
        if service["metadata"]["name"] in ("wanted", "sharing"):
            vip.wait_for_address(lab.service(service["metadata"]["name"]), address)

    for name, reason in (("alone", "sharing key"), ("elsewhere", "is not allowed in config")):
        said = vip.wait_for_refusal(lab.service(name))
        assert reason in said, f"{name} is refused with: {said}"

    first, second = lab.ready_pods("app=pair", 2)
    for name, pod, port in (("wanted", first, 8090), ("sharing", second, 8091)):
        lab.service(name).settles_on([pod])
        answers(f"http://{address}:{port}")
        replies = outside.web(address, port, times=5)
        assert replies.pods == [pod.name] * 5, f"{name} at port {port}: {replies}"


def test_a_pool_outside_the_network_is_refused(lab, metallb):
    """One sentence says why, and which addresses would do."""
    from servicelab.errors import UsageError
    from servicelab.metallb import AddressRange

    with pytest.raises(UsageError, match=r"192.0.2.1-192.0.2.9 lies outside .* choose addresses"):
        metallb.pool(lab, addresses=AddressRange.parse("192.0.2.1-192.0.2.9"))
