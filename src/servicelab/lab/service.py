"""A Service as a lab sees it: its addresses, its endpoints, its names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from servicelab.lab.pods import LabPod
from servicelab.verdict import Missing, deadlines, eventually
from servicelab.verdict.watching import watch_until

if TYPE_CHECKING:
    from servicelab.lab.lab import Lab

DOMAIN = "cluster.local"
HEADLESS = "None"
#: Address, port and protocol, as a rule names them: a node port has the address "".
Address = tuple[str, int, str]


class Service:
    """A Service; what it says is read anew each time.

    Args:
        lab: where it lives.
        name: its name.
    """

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name
        self.namespace = lab.namespace

    def __str__(self) -> str:
        return f"Service {self.namespace}/{self.name}"

    def read(self) -> Any:
        """The object, as the official client gives it."""
        return self.lab.core.read_namespaced_service(self.name, self.namespace)

    @property
    def cluster_ip(self) -> str:
        """Its virtual address; "None" if it is headless."""
        return str(self.read().spec.cluster_ip or "")

    def port(self, name: str | None = None) -> int:
        """The number of a port; of the first without a name."""
        ports = self.read().spec.ports
        return int(next(port.port for port in ports if name in (None, port.name)))

    @property
    def node_port(self) -> int | None:
        """The node port of its first port; None if it has none."""
        number = self.read().spec.ports[0].node_port
        return None if number is None else int(number)

    @property
    def url(self) -> str:
        """http://CLUSTER-IP:PORT of the first port."""
        spec = self.read().spec
        return f"http://{spec.cluster_ip}:{spec.ports[0].port}"

    @property
    def dns_name(self) -> str:
        """Its full name in the cluster DNS."""
        return f"{self.name}.{self.namespace}.svc.{DOMAIN}"

    def slices(self) -> list[Any]:
        """Its EndpointSlices."""
        listed = self.lab.discovery.list_namespaced_endpoint_slice(
            self.namespace, label_selector=f"kubernetes.io/service-name={self.name}"
        )
        return list(listed.items)

    def endpoints(self) -> set[str]:
        """Its ready endpoints, each as IP:port."""
        return ready_endpoints({each.metadata.name: each for each in self.slices()})

    def follows(self, pods: Collection[LabPod], *, port: int = 80) -> set[str]:
        """Wait until the ready endpoints are exactly these Pods' addresses; returns them.

        Raises:
            NotProved: they are not within `endpoints_follow`.
        """
        wanted = {f"{pod.ip}:{port}" for pod in pods}
        names = {f"{pod.ip}:{port}": pod.name for pod in pods}

        def exactly(slices: Any) -> bool | Missing:
            listed = ready_endpoints(slices)
            absent = [f"{names[each]} ({each}) is not listed" for each in wanted - listed]
            extra = [f"{each} is still listed" for each in listed - wanted]
            return not absent + extra or Missing(", ".join(sorted(absent + extra)))

        watch_until(
            self.lab.discovery.list_namespaced_endpoint_slice,
            exactly,
            deadline=deadlines.current().endpoints_follow,
            expecting=f"{self} to list exactly the endpoints {_words(wanted)}",
            tell=lambda slices: f"ready endpoints {_words(ready_endpoints(slices))}",
            namespace=self.namespace,
            label_selector=f"kubernetes.io/service-name={self.name}",
        )
        return wanted

    def programmed(self, endpoints: Collection[str]) -> None:
        """Wait until the kernel of every node leads each address of this Service to endpoints, and
        all of them together to exactly these, each IP:port.

        Ready endpoints do not mean programmed rules: each node has its own pace. Nor do rules under
        the Service's name: those of another one that had the name before go no sooner.

        Raises:
            NotProved: some node's rules do not, within `rules_programmed`.
        """
        wanted, addresses = set(endpoints), _addresses(self.read().spec)

        def leads_to() -> dict[str, dict[Address, set[str]]]:
            return {
                node: {
                    address: {f"{each.ip}:{each.port}" for each in rule.backends}
                    for rule in rules
                    if (address := (rule.ip, rule.port, rule.protocol)) in addresses
                }
                for node, rules in self.lab.rules(self.name).items()
            }

        def exactly(led: Mapping[Address, set[str]]) -> bool:
            return set().union(*led.values()) == wanted and (not wanted or set(led) == addresses)

        eventually(
            leads_to,
            lambda seen: all(exactly(led) for led in seen.values()),
            deadline=deadlines.current().rules_programmed,
            expecting=f"the rules for {self} on every node to lead to {_words(wanted)}",
            tell=lambda seen: "; ".join(_led_in_words(node, seen[node]) for node in sorted(seen)),
            every=0.1,
        )
        self.listed_in_ipsets()

    def listed_in_ipsets(self) -> None:
        """Wait, in ipvs mode, until the ipsets of every node have this Service's addresses, as its
        externalTrafficPolicy wants it: they come after the rules that `programmed` looks at.

        Raises:
            NotProved: some node's do not, within `rules_programmed`.
        """
        if self.lab.cluster.mode != "ipvs":
            return
        eventually(
            lambda: self.lab.missing_in_sets(self.name),
            lambda lacking: not any(lacking.values()),
            deadline=deadlines.current().rules_programmed,
            expecting=f"the ipsets of every node to have {self}",
            tell=lambda lacking: "; ".join(
                f"{node} lacks {', '.join(each)}" for node, each in lacking.items() if each
            ),
        )

    def settles_on(self, pods: Collection[LabPod], *, port: int = 80) -> None:
        """Wait until endpoints, then the rules of every node, are exactly these Pods.

        A headless Service has no address that rules could be for: its endpoints are all.

        Raises:
            NotProved: they are not, within `endpoints_follow` and `rules_programmed`.
        """
        endpoints = self.follows(pods, port=port)
        if self.cluster_ip != HEADLESS:
            self.programmed(endpoints)


def ready_endpoints(slices: Any) -> set[str]:
    """The ready endpoints of EndpointSlices, by name, each as IP:port."""
    found = set()
    for each in slices.values():
        for endpoint in each.endpoints or ():
            # A nil condition means ready: the API says so.
            if endpoint.conditions.ready is not False:
                found |= {
                    f"{address}:{port.port}"
                    for address in endpoint.addresses
                    for port in each.ports or ()
                }
    return found


def _addresses(spec: Any) -> set[Address]:
    """The addresses that a Service has rules for."""
    ports = spec.ports or ()
    found = {(str(spec.cluster_ip), port.port, port.protocol) for port in ports}
    return found | {("", port.node_port, port.protocol) for port in ports if port.node_port}


def _led_in_words(node: str, led: Mapping[Address, set[str]]) -> str:
    """Where a node leads each address; just where to, if that is the same."""
    if len({frozenset(backends) for backends in led.values()}) < 2:
        return f"{node}: {_words(set().union(*led.values()))}"
    each = (
        f"{ip or 'node'}:{port}/{protocol} to {_words(to)}"
        for (ip, port, protocol), to in sorted(led.items())
    )
    return f"{node}: {', '.join(each)}"


def _words(endpoints: Collection[str]) -> str:
    return ", ".join(sorted(endpoints)) or "none"
