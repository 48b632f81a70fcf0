"""MetalLB's images come from a private registry: pushed there, named in the manifest, pulled."""

from __future__ import annotations

from servicelab import claim
from servicelab.manifests import ImageReference
from servicelab.verdict import deadlines

METALLB = "metallb-system"


def by_component(pods: list[dict], component: str) -> list[dict]:
    """The Pods of MetalLB's controller, or its speakers."""
    return [pod for pod in pods if pod["metadata"]["labels"]["component"] == component]


@claim("LB-02")
def test_metallb_runs_from_a_private_registry(lab, metallb, cluster):
    """The controller and a speaker on each node are ready; each node pulled their images there."""
    registry, moved = metallb.registry, metallb.rewriting.moved
    patience = f"--timeout={deadlines.current().pod_ready.seconds:.0f}s"
    all_pods = ("pods", "--all", "--namespace", METALLB)
    lab.kubectl("wait", "--for=condition=Ready", *all_pods, patience)
    pods = lab.kubectl_json("get", "pods", "--namespace", METALLB)["items"]
    addresses = {node.name: node.ip for node in cluster.nodes}

    assert len(by_component(pods, "controller")) == 1, "there is not one controller"
    on_nodes = sorted(pod["spec"]["nodeName"] for pod in by_component(pods, "speaker"))
    assert on_nodes == sorted(addresses), f"speakers run on {on_nodes}"

    requests = registry.requests()
    for image in moved.values():
        path = ImageReference.parse(image).path
        assert any(
            (each.method, each.status, each.repository) == ("PUT", 201, path) and each.is_manifest
            for each in requests
        ), f"{image} was never pushed"
    for pod in pods:
        node, (container,) = pod["spec"]["nodeName"], pod["spec"]["containers"]
        image = container["image"]
        assert image in moved.values(), f"{pod['metadata']['name']} runs {image}"
        path = ImageReference.parse(image).path
        pulls = [
            each
            for each in requests
            if (each.client, each.repository) == (addresses[node], path)
            and each.agent.startswith("containerd/")
            and each.was_given
        ]
        assert any(each.is_manifest for each in pulls), f"{node} never asked there for {path}"
        assert any(each.is_blob and each.method == "GET" for each in pulls), (
            f"{node} had the content of {path} elsewhere"
        )

        digest = registry.digest(image)
        (status,) = pod["status"]["containerStatuses"]
        assert status["imageID"] == f"{registry.name}/{path}@{digest}", (
            f"{pod['metadata']['name']} runs {status['imageID']}, the registry has {digest}"
        )
        assert registry.pulled(node).get(image) == digest, f"containerd on {node} has another one"
