"""Connections that were recorded on a real cluster, for the tests of `servicelab trace`.

Each file of tests/unit/trace is one connection: what the node showed before and after it, what the
kernel told when it was asked to trace the packet, and what came of it. Only the lines of
iptables-save that changed are kept of the second reading, and the cluster is called "lab".
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from servicelab.explain.answers import Place
from servicelab.explain.snapshot import Snapshot
from servicelab.observe.iptables import parse_iptables
from servicelab.observe.model import ServiceRule, rules_for
from servicelab.observe.nftables import parse_nftables
from servicelab.observe.unreadable import RulesUnreadable
from servicelab.trace.judging import Seen, judged
from servicelab.trace.kernel_told import parse_told
from servicelab.trace.listening import Heard
from servicelab.trace.packet import Endpoint
from servicelab.trace.readings import Reading
from servicelab.trace.result import Trace
from servicelab.trace.target import Target
from servicelab.vantage import HttpReply, HttpRequest
from servicelab.vantage.http import HttpAnswer
from servicelab.vantage.reply import ErrorClass, SocketAddress

FOLDER = Path(__file__).parent / "trace"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))

Json = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """One recorded connection; `change` makes another of it."""

    data: Json

    @classmethod
    def named(cls, name: str) -> Record:
        """The recording of that name."""
        return cls(json.loads((FOLDER / f"{name}.json").read_text("utf-8")))

    @property
    def mode(self) -> str:
        """kube-proxy's mode."""
        return str(self.data["mode"])

    @property
    def expected(self) -> Json:
        """What came of it: end, backend, pod, masqueraded, chains."""
        found: Json = self.data["expected"]
        return found

    @property
    def text(self) -> str:
        """The node's rules before the connection."""
        return str(self.data["before"]["nft" if self.mode == "nftables" else "iptables"])

    def change(self, **values: Any) -> Record:
        """The same with other values."""
        return Record({**self.data, **values})

    def with_text(self, text: str) -> Record:
        """The same with other rules, before and after."""
        key = "nft" if self.mode == "nftables" else "iptables"
        return self.change(before={**self.data["before"], key: text}, changed={})

    def readings(self) -> tuple[Reading, Reading]:
        """What the node showed before and after."""
        texts = dict(self.data["before"])
        after = dict(texts)
        for what, changed in self.data["changed"].items():
            if isinstance(changed, str):
                after[what] = changed
                continue
            lines = texts[what].splitlines()
            for number, line in changed.items():
                lines[int(number)] = line
            after[what] = "\n".join(lines) + "\n"
        local = frozenset(self.data["local"])
        first, second = self.data["conntrack"]
        return Reading(texts, local, first), Reading(after, local, second)

    def trace(self) -> Trace:
        """Judge it anew."""
        before, after = self.readings()
        heard = Heard(parse_told(self.data["told"]))
        seen = Seen(self.mode, before, after, self.rules(), heard, self.reply())
        kind = {"prerouting": "pod", "output": "node"}[self.data["enters"]]
        place = Place("client", kind, "lab-worker", self.data["place"])  # type: ignore[arg-type]
        return judged(self.snapshot(), place, self.target(), seen)

    def rules(self) -> tuple[ServiceRule, ...] | RulesUnreadable:
        """The Service's rules on the node."""
        parse = parse_nftables if self.mode == "nftables" else parse_iptables
        try:
            return rules_for(parse(self.text), *self.data["service"].split("/"))
        except RulesUnreadable as error:
            return error

    def target(self) -> Target:
        """What was asked."""
        snapshot = self.snapshot()
        port = replace(snapshot.ports[0], protocol=self.data["protocol"].upper())
        asked = Endpoint(*self.data["asked"])
        return Target(self.data["kind"], asked, port, "lab-worker", self.data["enters"], "it is so")

    def snapshot(self) -> Snapshot:
        """The Service and its Pods; every Pod that may answer is on the slice."""
        namespace, name = self.data["service"].split("/")
        port = {"port": self.data["asked"][1], "protocol": self.data["protocol"].upper()}
        pods = self.data.get("pods") or PODS
        number = 5300 if self.data["protocol"] == "udp" else 80
        endpoints = [
            {"addresses": [ip], "targetRef": {"kind": "Pod", "name": pod}, "nodeName": "lab-worker"}
            for ip, pod in pods.items()
        ]
        return Snapshot(
            service={
                "metadata": {"namespace": namespace, "name": name},
                "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.9", "ports": [port]},
            },
            pods=tuple({"metadata": {"name": pod}} for pod in pods.values()),
            slices=(
                {
                    "metadata": {"labels": {"kubernetes.io/service-name": name}},
                    "ports": [{"port": number, "protocol": port["protocol"]}],
                    "endpoints": endpoints,
                },
            ),
        )

    def reply(self) -> HttpReply:
        """What the client met."""
        asked = HttpRequest(self.data["asked"][0], self.data["asked"][1], "/hostname")
        if self.data["client"] is None:
            return HttpReply(request=asked, error=ErrorClass.REFUSED, detail="refused")
        who = HttpAnswer("/hostname", 200, "OK", {}, (self.data["answered_by"] or "").encode())
        local = SocketAddress(*self.data["client"])
        return HttpReply(request=asked, local=local, answers=(who,))


#: The Pods behind every Service of the recordings.
PODS = {
    "10.244.1.2": "web-648b4595bc-ngqmt",
    "10.244.2.2": "web-648b4595bc-jk8qh",
    "10.244.2.3": "web-648b4595bc-srdjs",
}
