"""A climb: more and more Services, and at each stop what they cost.

One node's kube-proxy runs in the mode under test, another's in the mode that it is compared with;
both get the same Services at the same time. Elsewhere kube-proxy stands still meanwhile.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from math import inf

import pytest

from servicelab.cluster.proxy_mode import mode_reported
from servicelab.lab import Lab
from servicelab.lab.fillers import PORT, Fillers
from servicelab.lab.kube_proxy import KubeProxy
from servicelab.observe.printed_rules import printed_rules
from servicelab.vantage import NodeVantage, PodVantage, Replies, Reply, TcpRequest
from servicelab.verdict import deadlines, eventually

#: What each mode is compared with.
OTHER = {"iptables": "nftables", "nftables": "iptables", "ipvs": "iptables"}
#: Services at the last stop, by what the machine has: a guest has one processor, and is several
#: times slower.
MOST, MOST_ON_ONE_PROCESSOR, MOST_WHEN_REFUTED = 2000, 500, 1000
FEW = 50
#: Connections at each stop to the first and to the last Service, in turns. So many pairs tell but
#: for 1e-9 which takes longer, if it does in three of four (`quantities.pairs_to_tell`); and they
#: bound the median of a ratio to a few percent.
CONNECTIONS = 1000
#: So many of them may be lost, at each stop to each Service: a port that the client takes again for
#: another Service may still be known as one that just closed. A lost one counts as the slowest.
MAY_BE_LOST = CONNECTIONS // 100
#: In the client's own network, where no rule of a node is met, nobody listens on this port.
YARDSTICK = TcpRequest("127.0.0.1", 1)
#: Changes at the first and the last stop. 17 in each of two modes are the fewest that tell which
#: takes longer but for 1e-9 (`quantities.lesser`); with 40 some may be disturbed.
CHANGES = 40
CHANGES_BETWEEN = 10
#: kube-proxy's own is 1 s: after each change the test would wait for that.
MIN_SYNC_PERIOD, MIN_SYNC_SECONDS = "100ms", 0.1
TRY = 0.05  # seconds: a connection to an address that no rule knows yet gets no answer


@dataclass
class Spent:
    """What kube-proxy on one node spent, at one stop.

    Attributes:
        sync_seconds: on each change, bringing it into the kernel.
        cpu_seconds: on each change, of the processor.
        memory_bytes: that it holds.
    """

    sync_seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    memory_bytes: int = 0


@dataclass
class Stop:
    """What was measured with so many Services.

    Attributes:
        first, last: seconds to connect to the Service whose rule is met first, and last.
        yardstick: seconds until the client's own loopback refused, in turns with them: what slows
            the machine slows all three.
        spent: on the node in the mode under test, and on the one in the other mode.
        works_after: seconds from a Service's creation until a client gets through to it.
    """

    first: list[float]
    last: list[float]
    yardstick: list[float]
    spent: tuple[Spent, Spent] = field(default_factory=lambda: (Spent(), Spent()))
    works_after: list[float] = field(default_factory=list)

    @property
    def against_yardstick(self) -> list[float]:
        """What each connection to the last Service took, in multiples of the yardstick."""
        return [last / own for last, own in zip(self.last, self.yardstick, strict=True)]


@dataclass
class Climb:
    """All stops.

    Attributes:
        mode, other: the mode under test, and the one that it is compared with.
        stops: by the number of Services.
        restart_seconds: in each of the two modes, what a kube-proxy that starts with all Services
            spends on bringing them into the kernel.
    """

    mode: str
    other: str
    stops: dict[int, Stop] = field(default_factory=dict)
    restart_seconds: tuple[float, float] = (0.0, 0.0)


#: A Service's rule in KUBE-SERVICES, and an address anywhere.
RULE = re.compile(r"^-A KUBE-SERVICES -d ([\d.]+)/32 ", re.MULTILINE)
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")

CLIMBS = pytest.StashKey["dict[str, Climb]"]()


@pytest.fixture
def climb(request: pytest.FixtureRequest, lab: Lab) -> Climb:
    """One climb for all tests of a mode; one of its own for a test that is refuted."""
    refuting = bool(request.config.getoption("refute", None))
    climbs = request.config.stash.setdefault(CLIMBS, {})
    mode = lab.cluster.mode
    if refuting or mode not in climbs:
        climbs[mode] = Climber(lab).climb(sizes(request.config, refuting=refuting))
    return climbs[mode]


def sizes(config: pytest.Config, *, refuting: bool) -> tuple[int, ...]:
    """The numbers of Services at which there is a stop."""
    most = config.getoption("most_services", None)
    if most is None:
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
        most = MOST_WHEN_REFUTED if refuting else MOST
        most = MOST_ON_ONE_PROCESSOR if processors == 1 else most
    return (max(most // 20, FEW), most // 2, most)


class Climber:
    """Makes Services and measures what they cost, in a lab's namespace.

    Args:
        lab: the lab.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.mode = lab.cluster.mode
        self.kube_proxy: KubeProxy = lab.kube_proxy
        lab.apply("web.yaml")
        (self.web,) = lab.ready_pods("app=web", 1)
        self.client: PodVantage = lab.client(node=self.web.node)
        nodes = lab.cluster.node_vantages
        self.own = next(node for node in nodes if node.name == self.web.node)
        *_, self.compared = (node for node in nodes if node is not self.own)
        self.pair: list[NodeVantage] = [self.own, self.compared]
        self.elsewhere = [node for node in nodes if node not in self.pair]
        self.fillers = Fillers(lab, self.web.ip)

    def climb(self, sizes: tuple[int, ...]) -> Climb:
        """Make more and more Services, and take them away again."""
        climb = Climb(self.mode, OTHER[self.mode])
        with self.kube_proxy.paused(self.elsewhere):
            self.start_anew()
            try:
                for size in sizes:
                    changes = CHANGES_BETWEEN if size in sizes[1:-1] else CHANGES
                    climb.stops[size] = self.stop(size, changes)
                self.start_anew()
                own, compared = self.kube_proxy.idle(self.pair)
                climb.restart_seconds = own.sync_seconds, compared.sync_seconds
            finally:
                self.take_away()
        return climb

    def start_anew(self) -> None:
        """Start kube-proxy on both nodes, each in its mode."""
        for node, mode in zip(self.pair, (self.mode, OTHER[self.mode]), strict=True):
            self.kube_proxy.run(node, mode, minSyncPeriod=MIN_SYNC_PERIOD)

    def stop(self, size: int, changes: int) -> Stop:
        """Make so many Services, and measure; the changes are the last ones of them."""
        before = self.kube_proxy.idle(self.pair)
        with self.kube_proxy.paused(self.pair):
            self.fillers.grow_to(size - changes)
        *_, newest = self.fillers.addresses
        self.wait_for(newest)
        self.kube_proxy.synced(self.pair, since=before)
        late = [f"late-{number}" for number in range(size - changes, size)]
        self.fillers.add_endpoints(late)
        spent = (Spent(), Spent())
        works_after = [self.change(name, spent) for name in late]
        for each, effort in zip(spent, self.kube_proxy.idle(self.pair), strict=True):
            each.memory_bytes = effort.memory_bytes
        return Stop(*self.connect(), spent, works_after)

    def wait_for(self, name: str) -> None:
        """Ask a Service without a pause until it answers."""
        address = self.fillers.addresses[name]
        eventually(
            lambda: self.client.tcp(address, PORT, timeout=TRY),
            lambda reply: reply.ok,
            deadline=deadlines.current().many_rules_programmed,
            expecting=f"Service {name} to answer",
            asked_from=self.client.name,
            tell=lambda reply: reply.outcome,
            every=0.0,
        )

    def connect(self) -> tuple[list[float], list[float], list[float]]:
        """Seconds to connect to the Service that is met first, to the last, and those of the
        yardstick, in turns."""
        services = [TcpRequest(address, PORT) for address in self.ends()]
        replies = self.client.ask([*services, YARDSTICK] * CONNECTIONS)
        first, last, own = replies[::3], replies[1::3], replies[2::3]
        wrong = [reply.outcome for reply in own if reply.error != "refused"]
        assert not wrong, f"{YARDSTICK.target} should be refused: {wrong[0]}"
        return self.connected(first), self.connected(last), [reply.seconds for reply in own]

    def connected(self, replies: Replies[Reply]) -> list[float]:
        """Seconds until connected."""
        lost = [reply for reply in replies if reply.connect_seconds is None]
        assert len(lost) <= MAY_BE_LOST, f"{len(lost)} connections are lost: {lost[0].outcome}"
        return [
            inf if reply.connect_seconds is None else reply.connect_seconds for reply in replies
        ]

    def ends(self) -> tuple[str, str]:
        """The addresses of the first and the last Service, in the order in which a packet meets
        their rules; where there is no such order, the oldest and the newest."""
        addresses = list(self.fillers.addresses.values())
        if self.mode != "iptables":
            return addresses[0], addresses[-1]
        # A Service may answer before it has a rule of its own, if another rule leads to its Pod.
        met = eventually(
            lambda: self.rules_met(set(addresses)),
            lambda met: len(met) == len(addresses),
            deadline=deadlines.current().many_rules_programmed,
            expecting=f"each of {len(addresses)} Services to have a rule on {self.own.name}",
            tell=lambda met: f"{len(met)} have one",
        )
        return met[0], met[-1]

    def rules_met(self, addresses: set[str]) -> list[str]:
        """Those of the addresses that have a rule, in the order in which a packet meets them."""
        # kube-proxy writes them anew each time, in an order that is never the same.
        saved = self.lab.cluster.docker_exec(self.own.name, "iptables-save", "--table", "nat")
        return [address for address in RULE.findall(saved) if address in addresses]

    def take_away(self) -> None:
        """Delete all Services, and see that no node's kernel knows one of them any more."""
        addresses = set(self.fillers.addresses.values())
        with self.kube_proxy.paused(self.pair):
            self.fillers.remove()
        eventually(
            lambda: {node.name: sorted(addresses & self.known(node)) for node in self.pair},
            lambda left: not any(left.values()),
            deadline=deadlines.current().many_rules_programmed,
            expecting="no node to have a rule for a deleted Service",
            tell=lambda left: "; ".join(
                f"{node}: {len(of)} left, such as {of[0]}" for node, of in left.items() if of
            ),
            every=0.5,
        )

    def known(self, node: NodeVantage) -> set[str]:
        """All addresses that a node's kernel has a rule for."""
        rules = printed_rules(self.lab.cluster, node.name, mode_reported(node))
        return set(ADDRESS.findall(rules))

    def change(self, name: str, spent: tuple[Spent, Spent]) -> float:
        """Make one Service; says after how many seconds it worked."""
        before = self.kube_proxy.idle(self.pair, rest=MIN_SYNC_SECONDS)
        made = time.monotonic()
        self.fillers.add_services([name])
        self.wait_for(name)
        works_after = time.monotonic() - made
        after = self.kube_proxy.synced(self.pair, since=before)
        for each, was, is_ in zip(spent, before, after, strict=True):
            each.sync_seconds.append(is_.sync_seconds - was.sync_seconds)
            each.cpu_seconds.append(is_.cpu_seconds - was.cpu_seconds)
        return works_after
