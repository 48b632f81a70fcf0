"""Services without an address: DNS is asked in place of any rule."""

from __future__ import annotations

from typing import Any

import pytest

from servicelab.errors import InfrastructureError
from servicelab.explain.answers import Place
from servicelab.explain.places import Asker
from servicelab.explain.snapshot import Snapshot
from servicelab.trace.naming import trace_name
from servicelab.trace.result import Trace
from servicelab.vantage import DnsRecord, DnsReply, DnsRequest
from servicelab.vantage.reply import ErrorClass

NAME = "web.shop.svc.cluster.local."
ALIAS = DnsRecord(NAME, 30, "CNAME", "www.example.com.")


def addresses(*ips: str) -> tuple[DnsRecord, ...]:
    """A records of the Service's name."""
    return tuple(DnsRecord(NAME, 30, "A", ip) for ip in ips)


class NameServer:
    """A vantage point from which a name server answers always the same."""

    def __init__(self, **answer: Any) -> None:
        self.answer = answer
        self.asked: list[DnsRequest] = []

    def ask(self, requests: list[DnsRequest]) -> list[DnsReply]:
        self.asked += requests
        return [DnsReply(request=requests[0], **self.answer)]


def traced(spec: dict[str, Any], server: NameServer, *, dns: bool = True) -> Trace:
    """Trace a Service called shop/web."""
    slice_ = {
        "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"port": 80}],
        "endpoints": [
            {"addresses": ["10.244.1.2"], "targetRef": {"kind": "Pod", "name": "web-1"}},
        ],
    }
    snapshot = Snapshot(
        service={"metadata": {"namespace": "shop", "name": "web"}, "spec": spec},
        slices=(slice_,),
        dns_service={"spec": {"clusterIP": "10.96.0.10"}} if dns else None,
    )
    place = Asker(Place("client", "pod", "node-1", "10.244.1.9"), server)  # type: ignore[arg-type]
    return trace_name(snapshot, place, 0.1)


HEADLESS = {"clusterIP": "None", "ports": [{"port": 80}]}
EXTERNAL = {"type": "ExternalName", "externalName": "www.example.com"}


def test_a_headless_service_gives_its_pods_addresses() -> None:
    """The answer is the only hop, with the Pods' names; it is a success."""
    server = NameServer(rcode="NOERROR", answer=addresses("10.244.1.2", "10.244.1.3"))

    trace = traced(HEADLESS, server)

    (hop,) = trace.hops
    assert "10.244.1.2 (web-1), 10.244.1.3" in hop.does
    assert hop.rule.count("\n") == 1
    assert "no rule is involved: a headless Service" in trace.sentence
    assert "its 2 ready Pods" in trace.sentence
    assert (trace.way.end, trace.exit_code, trace.mode) == ("name", 0, "")
    assert server.asked[0].server == "10.96.0.10"


def test_an_external_name_gives_another_name() -> None:
    """Where that leads is the client's affair."""
    trace = traced(EXTERNAL, NameServer(rcode="NOERROR", answer=(ALIAS,)))

    (hop,) = trace.hops
    assert "another name for www.example.com" in hop.does
    assert "an ExternalName Service" in trace.sentence
    assert trace.exit_code == 0


@pytest.mark.parametrize("spec", [HEADLESS, EXTERNAL])
def test_a_name_that_gives_nothing_is_a_failure(spec: dict[str, Any]) -> None:
    """No ready Pod, or a name that is not there."""
    trace = traced(spec, NameServer(rcode="NXDOMAIN"))

    assert trace.exit_code == 1
    assert "DNS gives nothing instead" in trace.sentence
    assert trace.contradictions[0].name == "dns"


def test_a_name_server_that_does_not_answer_is_a_failure() -> None:
    """It is said."""
    trace = traced(HEADLESS, NameServer(error=ErrorClass.TIMEOUT))

    assert trace.exit_code == 1
    assert "10.96.0.10 did not answer: timeout" in trace.checks[0].says


def test_a_cluster_without_dns_can_not_be_asked() -> None:
    """That is no answer."""
    with pytest.raises(InfrastructureError, match="no Service kube-dns"):
        traced(HEADLESS, NameServer(), dns=False)
