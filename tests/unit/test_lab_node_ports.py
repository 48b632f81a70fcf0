"""Fixed node ports: another lab is waited for, anybody else is told."""

from __future__ import annotations

import json
from types import SimpleNamespace as Thing
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from servicelab.errors import UsageError
from servicelab.lab.node_ports import apply_when_free, fixes_a_number, taken_port
from servicelab.verdict import deadlines

LAB = {"app.kubernetes.io/managed-by": "servicelab"}


class FakeClock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let them pass."""
        self.now += seconds


class FakeCore:
    """The Services of a cluster, and whose namespaces they are in."""

    def __init__(self, labels: dict[str, str], node_port: int | None = 30001) -> None:
        self.labels = labels
        self.node_port = node_port

    def list_service_for_all_namespaces(self) -> Any:
        """One Service, perhaps with a node port, and one without ports."""
        named = Thing(namespace="shop", name="web")
        ports = [Thing(node_port=self.node_port)]
        return Thing(
            items=[
                Thing(metadata=named, spec=Thing(ports=None)),
                Thing(metadata=named, spec=Thing(ports=ports)),
            ]
        )

    def read_namespace(self, name: str) -> Any:
        """The namespace with its labels."""
        assert name == "shop"
        return Thing(metadata=Thing(labels=self.labels))


def refusal(message: str, status: int = 422) -> ApiException:
    error = ApiException(status=status)
    error.body = json.dumps(
        {"details": {"causes": [{"message": message, "field": "spec.ports[0].nodePort"}]}}
    )
    return error


TAKEN = "Invalid value: 30001: provided port is already allocated"


class Applying:
    """Fails so often, then works."""

    def __init__(self, failures: int, message: str = TAKEN) -> None:
        self.left = failures
        self.message = message
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise refusal(self.message)


@pytest.mark.parametrize(
    ("document", "fixed"),
    [
        ({"kind": "Service", "spec": {"ports": [{"port": 80}, {"nodePort": 30001}]}}, True),
        ({"kind": "Service", "spec": {"type": "NodePort", "ports": [{"port": 80}]}}, False),
        ({"kind": "Service", "spec": None}, False),
        ({"kind": "Pod", "spec": {"ports": [{"nodePort": 30001}]}}, False),
        ({"kind": "Service"}, False),
    ],
)
def test_a_service_fixes_a_number_if_one_of_its_ports_does(
    document: dict[str, Any], fixed: bool
) -> None:
    """Only a Service, and only one that names a node port."""
    assert fixes_a_number(document) is fixed


def test_the_refusal_names_the_number() -> None:
    """It is read from the API's status, not from a text made for people."""
    assert taken_port(refusal(TAKEN).body) == 30001
    assert (
        taken_port(refusal("Invalid value: 33333: provided port is not in the range").body) is None
    )
    for body in (None, "", b"no json", "[]", "{}", '{"details": null}'):
        assert taken_port(body) is None


def test_a_free_number_is_applied_at_once() -> None:
    """Nobody is asked, nothing is waited for."""
    clock, apply = FakeClock(), Applying(0)

    apply_when_free(apply, None, clock=clock)  # type: ignore[arg-type]

    assert (apply.calls, clock.now) == (1, 0)


def test_a_number_that_another_lab_holds_is_waited_for() -> None:
    """Until that lab ends, and its Service with it."""
    clock, apply = FakeClock(), Applying(3)

    apply_when_free(apply, FakeCore(LAB), clock=clock)  # type: ignore[arg-type]

    assert apply.calls == 4
    assert clock.now == pytest.approx(0.6)


def test_a_service_that_went_between_two_looks_is_no_obstacle() -> None:
    """It was there when the number was refused, and gone when its holder was looked for."""
    apply = Applying(1)

    apply_when_free(apply, FakeCore({}, None), clock=FakeClock())  # type: ignore[arg-type]

    assert apply.calls == 2


def test_a_number_that_somebody_else_holds_is_told_at_once() -> None:
    """One sentence: which number, who has it, what to do."""
    clock = FakeClock()

    with pytest.raises(UsageError) as told:
        apply_when_free(Applying(9), FakeCore({}), clock=clock)  # type: ignore[arg-type]

    assert str(told.value) == (
        "node port 30001 is taken by Service shop/web; "
        "delete that Service, or write another number into the manifest"
    )
    assert clock.now == 0


def test_a_lab_that_holds_it_for_too_long_is_told_too() -> None:
    """The wait ends."""
    clock = FakeClock()

    with pytest.raises(UsageError, match="node port 30001 is taken by Service shop/web"):
        apply_when_free(Applying(10**6), FakeCore(LAB), clock=clock)  # type: ignore[arg-type]

    assert clock.now == pytest.approx(deadlines.current().node_port_free.seconds)


def test_another_refusal_passes_through() -> None:
    """It is not this module's business."""
    with pytest.raises(ApiException):
        apply_when_free(Applying(1, "Required value"), FakeCore({}))  # type: ignore[arg-type]
