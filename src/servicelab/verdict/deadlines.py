"""How long each wait may take: one object, one named field for each wait.

Any of them can be changed for a run with `--deadline NAME=SECONDS`, and all at once, for a slow
machine, with `--deadline-factor X`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from servicelab.errors import UsageError


@dataclass(frozen=True, slots=True)
class Deadline:
    """How long one kind of wait may take.

    Attributes:
        name: the field's name in `Deadlines`, and what `--deadline` calls it.
        seconds: the time allowed, in seconds.
        purpose: what is waited for.
        source: where the figure comes from.
    """

    name: str
    seconds: float
    purpose: str = ""
    source: str = ""

    def __str__(self) -> str:
        return f"deadlines.{self.name}"


@dataclass(frozen=True)
class Deadlines:
    """Every wait of the harness and the labs, each with its time in seconds."""

    engine_started: Deadline = Deadline(
        "engine_started",
        60,
        "a private Docker Engine answers on its socket",
        "3 s on 2 cores; a cold disk and containerd's first start take up to 20 s",
    )
    engine_stopped: Deadline = Deadline(
        "engine_stopped",
        30,
        "the private Docker Engine's processes are gone",
        "1 s without containers; dockerd gives containers 15 s",
    )
    guest_started: Deadline = Deadline(
        "guest_started",
        60,
        "a guest with its own kernel has booted, up to its command's start",
        "0.6 s on 2 cores; a busy machine and a cold disk add to it",
    )
    guest_stopped: Deadline = Deadline(
        "guest_stopped",
        30,
        "what runs in a guest has ended after it was told to, and the guest with it",
        "a run that is told to end deletes its cluster first, some seconds in a guest",
    )
    cluster_created: Deadline = Deadline(
        "cluster_created",
        300,
        "kind has created every node and kubeadm has joined them",
        "kubeadm gives its control plane 240 s; a cluster of 3 takes 15 s on 2 cores",
    )
    kind_stopped: Deadline = Deadline(
        "kind_stopped",
        20,
        "what an interrupted kind began has ended",
        "a container is made within 2 s on 2 cores",
    )
    cluster_ready: Deadline = Deadline(
        "cluster_ready",
        120,
        "a Service and the cluster DNS answer from every node",
        "seconds after kubeadm is done; node_ready plus CoreDNS's start in the worst case",
    )
    coredns_starts: Deadline = Deadline(
        "coredns_starts",
        6,
        "a CoreDNS that runs is Ready; one that is not by then hangs, and is started anew",
        "1 to 3 s on 2 cores; one that hangs takes 30 s, a new Pod 3",
    )
    node_ready: Deadline = Deadline(
        "node_ready",
        120,
        "a node is Ready after it joined or restarted",
        "the kubelet reports every 10 s, and the Pod network needs its Pod first",
    )
    node_gone: Deadline = Deadline(
        "node_gone",
        90,
        "a dead node is NotReady and its Pods have left the endpoints",
        "node-monitor-grace-period is 50 s, plus its 5 s period",
    )
    api_serves: Deadline = Deadline(
        "api_serves",
        60,
        "the API server answers /readyz after it was restarted",
        "the kubelet reads static manifests every 20 s; a start takes 10 s on 2 cores",
    )
    proxy_mode_switched: Deadline = Deadline(
        "proxy_mode_switched",
        60,
        "each node's kube-proxy reports the new mode, and the kernel shows it and nothing else",
        "a Pod's replacement (5 s) and a first full sync on each node",
    )
    cluster_restored: Deadline = Deadline(
        "cluster_restored",
        120,
        "a disrupted cluster is as it was before, and answers from every node",
        "as node_ready, which is the slowest thing that is disrupted",
    )
    mode_left: Deadline = Deadline(
        "mode_left",
        900,
        "under xdist, every worker has finished the tests that must come before: those of earlier "
        "modes, and all others before a disruptive one",
        "a worker's whole share of a lab in one mode, slow tests included",
    )
    namespace_sa: Deadline = Deadline(
        "namespace_sa",
        15,
        "a new namespace has its default ServiceAccount",
        "the controller makes it within a second",
    )
    pod_ready: Deadline = Deadline(
        "pod_ready",
        60,
        "a Pod is Ready: scheduled, its images there, started, probes passed",
        "2 s when the image is preloaded; probes and a busy machine add to it",
    )
    pod_listens: Deadline = Deadline(
        "pod_listens",
        15,
        "the server of a Pod that is Ready without a readiness probe listens",
        "some milliseconds; a process that waits for a processor takes longer",
    )
    pod_gone: Deadline = Deadline(
        "pod_gone",
        60,
        "a deleted Pod no longer exists",
        "terminationGracePeriodSeconds is 30 s by default, plus the kubelet's own time",
    )
    object_deleted: Deadline = Deadline(
        "object_deleted",
        60,
        "a deleted object no longer exists",
        "finalizers and garbage collection; a namespace takes up to 20 s",
    )
    endpoints_follow: Deadline = Deadline(
        "endpoints_follow",
        30,
        "a Service's EndpointSlices list exactly the Pods they should",
        "the controller reacts in 0.1 s; a readiness probe's period (10 s) times its threshold "
        "may come first",
    )
    rules_programmed: Deadline = Deadline(
        "rules_programmed",
        15,
        "a node's kernel holds the rules that the endpoints ask for",
        "kube-proxy's minSyncPeriod is 1 s by default; a full resync of thousands takes seconds",
    )
    many_rules_programmed: Deadline = Deadline(
        "many_rules_programmed",
        120,
        "kube-proxy on every node has caught up with thousands of new or deleted Services",
        "seconds on 2 cores, which it shares with the API server and with two others of its kind",
    )
    many_services_gone: Deadline = Deadline(
        "many_services_gone",
        120,
        "the API server has deleted a thousand Services",
        "17 s for 1,200 and their EndpointSlices on 2 busy cores, more than 120 s for 5,000: it "
        "deletes one after the other",
    )
    affinity_forgotten: Deadline = Deadline(
        "affinity_forgotten",
        300,
        "IPVS forgets which Pod a client was led to",
        "2 min for its closed connections, and their Pod's timer is looked at once a minute",
    )
    service_reachable: Deadline = Deadline(
        "service_reachable",
        30,
        "a Service answers as it should, asked from one place",
        "endpoints, then rules on that node; each node has its own pace",
    )
    service_gone: Deadline = Deadline(
        "service_gone",
        20,
        "a deleted or changed Service no longer answers as before",
        "as rules_programmed, plus connections that are being closed",
    )
    node_port_free: Deadline = Deadline(
        "node_port_free",
        60,
        "a node port that another lab holds is given back",
        "a lab's Services are deleted within a second of its end; a test takes seconds",
    )
    client_waits: Deadline = Deadline(
        "client_waits",
        2,
        "a client that asks while Pods come and go waits for one answer",
        "1 to 20 ms; starting Pods keep both processors busy for some hundred ms",
    )
    dns_answers: Deadline = Deadline(
        "dns_answers",
        30,
        "the cluster DNS answers as it should",
        "CoreDNS watches the API but caches an answer, a negative one too, for up to 30 s",
    )
    metallb_ready: Deadline = Deadline(
        "metallb_ready",
        120,
        "MetalLB's controller and its speaker on each node are ready",
        "4 s where the images are on the nodes; pulling them takes longer",
    )
    webhook_answers: Deadline = Deadline(
        "webhook_answers",
        60,
        "MetalLB's webhook takes a pool",
        "it makes its certificate after its Pod is ready, and the API server must learn it",
    )
    vip_given: Deadline = Deadline(
        "vip_given",
        20,
        "a LoadBalancer Service has its address, and an event says what became of it",
        "MetalLB's controller reacts in 0.1 s, and pauses for seconds after errors",
    )
    vip_moves: Deadline = Deadline(
        "vip_moves",
        60,
        "the address of a dead announcer answers from another node",
        "MetalLB's members suspect a silent one for 4 s before they give it up",
    )
    world_stands: Deadline = Deadline(
        "world_stands",
        60,
        "the name server and web servers beside a cluster answer, and its DNS leads to them",
        "3 s on 2 cores; left to itself, the kubelet renews CoreDNS's file within a minute",
    )
    probe_reached: Deadline = Deadline(
        "probe_reached",
        15,
        "the channel to a vantage point's probe opens",
        "0.25 s on 2 cores, most of it the exec; seconds while a node starts its Pods",
    )
    probe_answers: Deadline = Deadline(
        "probe_answers",
        15,
        "a probe's answer arrives, beyond the time that its requests may take themselves",
        "1 ms for the way; seconds where a busy node keeps the probe waiting for its turn",
    )
    evidence_saved: Deadline = Deadline(
        "evidence_saved",
        10,
        "what a failed claim left is collected; what has not come by then is left out",
        "0.5 s on 2 cores, all of it at once; an API server that is down gives time-outs of 4 s",
    )
    registry_serves: Deadline = Deadline(
        "registry_serves",
        30,
        "a private registry beside the cluster answers",
        "0.1 s on 2 cores; a slow disk and a busy engine add to it",
    )
    bgp_session_up: Deadline = Deadline(
        "bgp_session_up",
        60,
        "a BGP router beside the cluster has a session with each speaker",
        "a speaker that was refused tries again after 10 s at most; the handshake takes 0.1 s",
    )
    route_follows: Deadline = Deadline(
        "route_follows",
        15,
        "a BGP router's table has exactly the routes it should",
        "a speaker announces and withdraws within a second of the Service's change",
    )
    manifest_read: Deadline = Deadline(
        "manifest_read",
        30,
        "the process that reads an untrusted manifest has ended",
        "0.1 s on 2 cores; its processor time is limited to 4 s, and it may have to share",
    )
    rights_follow: Deadline = Deadline(
        "rights_follow",
        15,
        "a new account may do what its role says",
        "0.1 s on 2 cores: the API server learns of roles by a watch",
    )
    layers_walked: Deadline = Deadline(
        "layers_walked",
        2,
        "beside a failed test, its Services' first broken layer is found",
        "0.5 s on 2 cores where nothing hangs; two rounds of requests of 0.7 s where much does",
    )
    layers_settle: Deadline = Deadline(
        "layers_settle",
        3,
        "endpoints, rules and names have caught up, before one of them is called broken",
        "three times kube-proxy's default minSyncPeriod of 1 s",
    )
    trace_heard: Deadline = Deadline(
        "trace_heard",
        10,
        "a node's nft monitor tells of a table that was made or deleted",
        "0.3 s on 2 cores, most of it for systemd-run to start the monitor",
    )
    stays_so: Deadline = Deadline(
        "stays_so",
        3,
        "how long something must stay as it is, to say that it stays so",
        "three times kube-proxy's default minSyncPeriod of 1 s",
    )
    graded_pods: Deadline = Deadline(
        "graded_pods",
        25,
        "the Pods of a submission and its exercise are Ready, or have shown that they will not be",
        "2 s on 2 cores; a readiness probe's default period is 10 s, and one try may be too early",
    )
    graded_settles: Deadline = Deadline(
        "graded_settles",
        60,
        "one check sees what it should; it is over as soon as the cluster has done, for the "
        "course, what was asked of it later than the submission",
        "as pod_ready; 1 to 2 s on 2 cores",
    )
    graded_moment: Deadline = Deadline(
        "graded_moment",
        2,
        "after that proof, what a check still waits before it calls a criterion missed",
        "a request that is lost takes 1 s, and is asked once more",
    )
    graded_in_all: Deadline = Deadline(
        "graded_in_all",
        180,
        "all checks of one submission",
        "5 s on 2 cores where everything is right, 40 s where everything is wrong",
    )
    graded_around: Deadline = Deadline(
        "graded_around",
        180,
        "what stands around the checks of one submission, before it is given up",
        "5 s on 2 cores; the sum of the waits for its namespace, its Pods and the course's own",
    )
    graders_start: Deadline = Deadline(
        "graders_start",
        180,
        "the first Pod of a grading Job runs",
        "1 s where its image of 170 MiB is on the node; pulling it takes longer",
    )
    control_answers: Deadline = Deadline(
        "control_answers",
        60,
        "beside a submission, a new Service of the course's own answers from each place",
        "1 s on 2 cores; as pod_ready on a busy machine",
    )

    def __iter__(self) -> Iterator[Deadline]:
        return (getattr(self, field.name) for field in dataclasses.fields(self))

    def changed(self, seconds: Mapping[str, float], *, factor: float = 1.0) -> Deadlines:
        """These deadlines with some set and the others multiplied.

        Args:
            seconds: new times by name; they are taken as given, not multiplied.
            factor: what every other deadline is multiplied by.

        Raises:
            UsageError: a name is unknown, or a number is not above zero.
        """
        known = {deadline.name: deadline for deadline in self}
        if unknown := sorted(set(seconds) - set(known)):
            raise UsageError(
                f"there is no deadline named {unknown[0]!r}", remedy=f"use one of {_names(known)}"
            )
        for name, value in [*seconds.items(), ("the factor", factor)]:
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} of the deadlines is {value:g}, not above zero")
        return dataclasses.replace(
            self,
            **{
                name: dataclasses.replace(
                    deadline, seconds=seconds.get(name, deadline.seconds * factor)
                )
                for name, deadline in known.items()
            },
        )


def parse(settings: Iterable[str], *, factor: float = 1.0) -> Deadlines:
    """The default deadlines, changed as `NAME=SECONDS` settings say.

    Raises:
        UsageError: a setting has no `=`, its name is unknown or its value is no number above zero.
    """
    seconds: dict[str, float] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        try:
            seconds[name.strip()] = float(value)
        except ValueError:
            problem = f"{value!r} is not a number" if equals else "it has no `=`"
            raise UsageError(
                f"the deadline {setting!r} can't be read: {problem}",
                remedy=f"write NAME=SECONDS, with one of {_names(d.name for d in Deadlines())}",
            ) from None
    return Deadlines().changed(seconds, factor=factor)


_current = Deadlines()


def current() -> Deadlines:
    """The deadlines of this run."""
    return _current


def use(deadlines: Deadlines) -> Deadlines:
    """Make these the deadlines of this run, and return those that were in use before."""
    global _current
    before, _current = _current, deadlines
    return before


@contextmanager
def multiplied(factor: float) -> Iterator[None]:
    """Give every wait more time for a while."""
    before = use(current().changed({}, factor=factor))
    try:
        yield
    finally:
        use(before)


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
