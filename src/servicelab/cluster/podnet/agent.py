"""The Pod network of a cluster built without a registry: routes, one masquerade rule, CNI.

Runs on each node as a DaemonSet (see manifest.yaml), in the host's network, with the node's root
file system at /host. It asks the API server at its Service address, so it writes the CNI
configuration only once kube-proxy has written this node's rules: a Pod that starts earlier would
hold an untranslated connection to 10.96.0.1 until its dial times out (30 s for CoreDNS).

Only the standard library: the file is copied alone into the probe image.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HOST_ROOT = "/host"
CNI_FILE = Path(HOST_ROOT, "etc/cni/net.d/10-servicelab.conflist")
CONNECT_TIMEOUT = 0.5  # seconds; a lost first packet must not cost the kernel's 1 s retransmission
RETRY_PAUSE = 0.05  # seconds between two tries to reach the API server
WATCH_SECONDS = 300  # how long one watch request lasts before it is asked again
STOP = threading.Event()
# First added, then emptied, then filled: right whether or not it was there.
MASQUERADE = """\
add table ip servicelab-podnet
flush table ip servicelab-podnet
table ip servicelab-podnet {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {pod_cidr} ip daddr != {pod_cidr} masquerade
  }}
}}
"""


def say(text: str) -> None:
    """One line in the Pod's log."""
    print(text, file=sys.stderr, flush=True)


def on_host(*argv: str, stdin: str | None = None) -> None:
    """Run a command of the node's own file system; raises CalledProcessError if it fails."""
    subprocess.run(
        argv,
        input=stdin,
        text=True,
        check=True,
        cwd="/",
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        preexec_fn=lambda: os.chroot(HOST_ROOT),  # no other thread runs yet
    )


def masquerade(pod_cidr: str) -> None:
    """Hide Pod addresses from everything that is not a Pod, in a table of our own."""
    on_host("nft", "-f", "-", stdin=MASQUERADE.format(pod_cidr=pod_cidr))


def write_cni(subnet: str) -> None:
    """Tell containerd how to connect a Pod; written in one step, read at once."""
    mtu = int(Path("/sys/class/net/eth0/mtu").read_text())
    ipam = {
        "type": "host-local",
        "dataDir": "/run/cni-ipam-state",
        "ranges": [[{"subnet": subnet}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [
        {"type": "ptp", "ipMasq": False, "mtu": mtu, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    text = json.dumps({"cniVersion": "0.4.0", "name": "servicelab", "plugins": plugins}, indent=1)
    if CNI_FILE.exists() and CNI_FILE.read_text() == text:
        return
    CNI_FILE.parent.mkdir(parents=True, exist_ok=True)
    draft = CNI_FILE.with_suffix(".tmp")
    draft.write_text(text)
    draft.rename(CNI_FILE)
    say(f"Pods of this node get addresses from {subnet}")


class Nodes:
    """The API server's list of nodes, read at its Service address."""

    def __init__(self) -> None:
        self._address = os.environ["KUBERNETES_SERVICE_HOST"]
        self._port = int(os.environ["KUBERNETES_SERVICE_PORT"])
        self._tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))

    def _get(self, path: str, timeout: float) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection(
            self._address, self._port, timeout=CONNECT_TIMEOUT, context=self._tls
        )
        connection.connect()
        connection.sock.settimeout(timeout)
        token = (ACCOUNT / "token").read_text()
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise ConnectionError(f"{path}: {response.status} {response.reason}")
        return response

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """All nodes as they are, then each change, until the watch ends."""
        listing = json.load(self._get("/api/v1/nodes", timeout=10))
        for node in listing["items"]:
            yield "ADDED", node
        version = listing["metadata"]["resourceVersion"]
        query = f"watch=1&resourceVersion={version}&timeoutSeconds={WATCH_SECONDS}"
        for line in self._get(f"/api/v1/nodes?{query}", timeout=WATCH_SECONDS + 10):
            event = json.loads(line)
            if event["type"] in ("ERROR", "BOOKMARK"):
                return
            yield event["type"], event["object"]


def internal_ip(node: dict[str, Any]) -> str | None:
    """The node's IPv4 address on the cluster's network, once the kubelet has reported it."""
    for address in node.get("status", {}).get("addresses", ()):
        if address["type"] == "InternalIP" and ":" not in address["address"]:
            return str(address["address"])
    return None


def follow(me: str, routes: dict[str, str]) -> None:
    """Keep routes and CNI as the node list says, until the connection ends."""
    for kind, node in Nodes().events():
        name, subnet = node["metadata"]["name"], node.get("spec", {}).get("podCIDR")
        address = internal_ip(node)
        if not subnet or (name != me and not address):
            continue
        if name == me:
            write_cni(subnet)
        elif kind == "DELETED":
            routes.pop(subnet, None)
            on_host("ip", "route", "del", subnet)
        elif routes.get(subnet) != address:
            on_host("ip", "route", "replace", subnet, "via", str(address))
            routes[subnet] = str(address)
            say(f"Pods of {name} ({subnet}) are reached via {address}")


def main() -> int:
    """Follow the nodes until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    me, pod_cidr = os.environ["NODE_NAME"], os.environ["POD_CIDR"]
    masquerade(pod_cidr)
    routes: dict[str, str] = {}
    for attempt in itertools.count():
        try:
            follow(me, routes)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Before kube-proxy is up this is the normal course: say it once in a while.
            if attempt % 100 == 0:
                say(f"the API server does not answer at its Service address yet: {error}")
        STOP.wait(RETRY_PAUSE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
