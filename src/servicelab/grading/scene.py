"""What a check can look at: a submission's namespaces, and places to ask from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from servicelab.errors import InfrastructureError, UsageError
from servicelab.lab.pods import LabPod, is_going, lab_pod
from servicelab.verdict import Deadline, Missing, NotProved, deadlines, eventually
from servicelab.verdict.message import in_words

if TYPE_CHECKING:
    from servicelab.cluster import Cluster
    from servicelab.grading.control import Control
    from servicelab.lab import Lab, Service
    from servicelab.metallb import Pool
    from servicelab.vantage import NodeVantage, OutsideVantage, PodVantage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sight(Generic[T]):
    """What was seen last.

    Attributes:
        seen: the last answer.
        satisfied: whether it is what was waited for.
        waited_for: what was waited for in vain, with what was seen meanwhile; "" if it came.
    """

    seen: T
    satisfied: bool
    waited_for: str = ""


class NoSuchObject(Exception):
    """Something that a check looks at is not there.

    Args:
        what: it, in words: "Service web".
    """


@dataclass
class Time:
    """The time that checks have.

    What a submission brings about comes about at once or not at all. It has as long as the cluster
    needs to do for the course what was asked of it later than the submission, on a slow machine
    longer than on a quick one; then it is over, for all of its checks.

    Attributes:
        ends_at: when all the checks must be over, by `clock`.
        proof: begins to prove that the cluster does its work, by new Pods too if told so; done when
            it has.
        most: seconds that the check that runs now may wait once that is proved; None for a moment.
        clock: seconds since some fixed moment.
    """

    ends_at: float
    proof: Callable[[bool], Future[None]]
    most: float | None = None
    clock: Callable[[], float] = time.monotonic
    proofs: list[Future[None]] = field(default_factory=list)
    _proved_at: float | None = None

    def begin(self, *, pods: bool) -> None:
        """Something was applied or changed just now; `pods` if it brings new Pods about."""
        self._proved_at = None
        proof = self.proof(pods)
        self.proofs.append(proof)
        proof.add_done_callback(self._take_down)

    def _take_down(self, proof: Future[None]) -> None:
        if proof is self.proofs[-1] and not proof.cancelled() and proof.exception() is None:
            self._proved_at = self.clock()

    @property
    def is_proved(self) -> bool:
        """The cluster has done for the course what was asked of it later."""
        return self._proved_at is not None

    @property
    def failure(self) -> BaseException | None:
        """Why the cluster is proved not to do its work; None if it is not."""
        last = self.proofs[-1] if self.proofs else None
        return last.exception() if last and last.done() and not last.cancelled() else None

    def deadline(self) -> Deadline:
        """For the check that runs now; mostly it is over earlier."""
        settles = deadlines.current().graded_settles
        left = self.ends_at - self.clock()
        return settles if settles.seconds <= left else Deadline("graded_in_all", max(0.0, left))

    def over(self, looked_at: float) -> str | None:
        """Why there is no use in looking again; None if there is.

        Args:
            looked_at: when the last look began.
        """
        if self._proved_at is None:
            return None
        patience = deadlines.current().graded_moment.seconds if self.most is None else self.most
        since = looked_at - self._proved_at
        if since < patience:
            return None
        return f"a Service that was made later has answered everywhere for {since:.1f} s"


@dataclass
class Scene:
    """A submission as it stands in a cluster.

    Attributes:
        lab: its namespace.
        others: further namespaces of the exercise, by parameter.
        control: the course's own Pods and places to ask from.
        time: how long a check may take.
        pools: where a load balancer takes the namespace's addresses from.
    """

    lab: Lab
    others: Mapping[str, Lab]
    control: Control
    time: Time
    pools: tuple[Pool, ...] = ()

    @property
    def cluster(self) -> Cluster:
        """Where it stands."""
        return self.lab.cluster

    # Places to ask from.

    @property
    def nodes(self) -> list[NodeVantage]:
        """A place on each node, control plane first."""
        return self.control.nodes

    @property
    def client(self) -> PodVantage:
        """A Pod of the course's, in a namespace of its own."""
        return self.control.clients[0]

    @property
    def clients(self) -> list[PodVantage]:
        """Several such Pods; each has an address of its own."""
        return self.control.clients

    @property
    def outside(self) -> OutsideVantage:
        """A host beside the cluster."""
        return self.control.outside

    @cached_property
    def name_server(self) -> str:
        """The address of the cluster DNS."""
        core: Any = self.lab.core
        return str(core.read_namespaced_service("kube-dns", "kube-system").spec.cluster_ip)

    # What stands there.

    def where(self, reference: str) -> tuple[Lab, str]:
        """The namespace and the rest of a reference: "web", or "PARAMETER:web" in another one.

        Raises:
            UsageError: no parameter of that name is a namespace.
        """
        space, colon, rest = reference.rpartition(":")
        if not colon:
            return self.lab, rest
        if space not in self.others:
            raise UsageError(f"{reference!r} names no namespace of the exercise: {space!r}")
        return self.others[space], rest

    def service(self, reference: str) -> Service:
        """A Service, which must be there.

        Raises:
            NoSuchObject: it is not.
        """
        from kubernetes.client.exceptions import ApiException

        lab, name = self.where(reference)
        service = lab.service(name)
        try:
            service.read()
        except ApiException as error:
            if error.status == 404:
                raise NoSuchObject(f"Service {name}") from None
            raise
        return service

    def pods(self, owner: str) -> list[LabPod]:
        """The Pods of a workload as it stands now, those being deleted left out; by name.

        Args:
            owner: "deployment/web", "statefulset/web" or "pod/web", in another namespace with
                "PARAMETER:" before it.

        Raises:
            NoSuchObject: there is no such workload.
        """
        lab, rest = self.where(owner)
        kind, _, name = rest.partition("/")
        core: Any = lab.core
        listed = [
            each for each in core.list_namespaced_pod(lab.namespace).items if not is_going(each)
        ]
        if kind == "pod":
            found = [each for each in listed if each.metadata.name == name]
            if not found:
                raise NoSuchObject(f"Pod {name}")
        else:
            # By the controllers' own marks: names and labels are anybody's to choose.
            uids = _controllers(lab, kind, name)
            found = [
                each
                for each in listed
                if any(
                    owner.controller and owner.uid in uids
                    for owner in each.metadata.owner_references or ()
                )
            ]
        return sorted(map(lab_pod, found), key=lambda pod: pod.name)

    # Looking until it is as it should be.

    def until(
        self,
        look: Callable[[], T],
        satisfies: Callable[[T], bool | Missing],
        *,
        expecting: str,
        tell: Callable[[T], str] = in_words,
        every: float = 0.15,
    ) -> Sight[T]:
        """Look until what is seen satisfies or the check's time is up.

        Raises:
            InfrastructureError: the cluster was proved not to do its work, or the time was up
                before anything was proved; says what was waited for.
        """
        seen: list[T] = []
        looks: list[float] = []

        def looked() -> T:
            looks.append(self.time.clock())
            seen[:] = [look()]
            return seen[0]

        def over(_: T) -> str | None:
            if self.time.failure:
                return str(self.time.failure)
            # Each check looks for a moment of its own: a single request may be lost.
            if looks[-1] - looks[0] < deadlines.current().graded_moment.seconds:
                return None
            return self.time.over(looks[-1])

        try:
            eventually(
                looked,
                satisfies,
                deadline=self.time.deadline(),
                expecting=expecting,
                tell=tell,
                give_up=over,
                every=every,
            )
        except NotProved as error:
            if failure := self.time.failure:
                raise failure from None
            if self.time.over(looks[-1]) is None:
                raise InfrastructureError(
                    f"the cluster is too slow to say anything: {' '.join(str(error).split())}",
                    remedy="grade again when the machine is less busy",
                ) from None
            return Sight(seen[0], False, str(error))
        return Sight(seen[0], True)

    def stays(
        self,
        look: Callable[[], T],
        satisfies: Callable[[T], bool | Missing],
        *,
        expecting: str,
        tell: Callable[[T], str] = in_words,
    ) -> Sight[T]:
        """See that it stays so until the cluster is proved to do its work, `stays_so` at least.

        A container that is about to crash is Ready first, on a slow machine for longer.

        Raises:
            InfrastructureError: it stayed so, but the cluster was not proved to do its work.
        """
        seen: list[T] = []
        began = self.time.clock()
        least = deadlines.current().stays_so.seconds

        def looked() -> T:
            seen[:] = [look()]
            return seen[0]

        try:
            eventually(
                looked,
                lambda answer: (
                    bool(satisfies(answer))
                    and self.time.is_proved
                    and self.time.clock() - began >= least
                ),
                deadline=self.time.deadline(),
                expecting=expecting,
                tell=tell,
                give_up=lambda answer: None if satisfies(answer) else "it did not stay so",
                every=0.5,
            )
        except NotProved as error:
            if satisfies(seen[0]):
                raise InfrastructureError(
                    f"the cluster is too slow to say anything: {' '.join(str(error).split())}",
                    remedy="grade again when the machine is less busy",
                ) from None
            return Sight(seen[0], False, str(error))
        return Sight(seen[0], True)


def _controllers(lab: Lab, kind: str, name: str) -> set[str]:
    """The ids of what controls a workload's Pods: a Deployment's ReplicaSets, a StatefulSet."""
    from kubernetes.client.exceptions import ApiException

    apps: Any = lab.apps
    try:
        if kind == "statefulset":
            return {str(apps.read_namespaced_stateful_set(name, lab.namespace).metadata.uid)}
        if kind == "deployment":
            uid = apps.read_namespaced_deployment(name, lab.namespace).metadata.uid
            return {
                str(each.metadata.uid)
                for each in apps.list_namespaced_replica_set(lab.namespace).items
                if any(owner.uid == uid for owner in each.metadata.owner_references or ())
            }
    except ApiException as error:
        if error.status == 404:
            raise NoSuchObject(f"{kind.capitalize()} {name}") from None
        raise
    raise UsageError(
        f"{kind}/{name} names no Pods", remedy="write deployment/NAME, statefulset/NAME or pod/NAME"
    )
