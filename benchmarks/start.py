"""From the command to "a Service and DNS answer from every node": ours beside plain kind.

Plain is `kind create cluster --wait` of the same nodes and image, then the same check. The two take
turns, so that a machine that slows down slows both.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess

import yaml

from benchmarks.figures import Figure, write
from servicelab.cluster import Cluster
from servicelab.cluster.config import read_config
from servicelab.cluster.readiness import prove_ready, start_probes
from servicelab.content import default_kind_config
from servicelab.progress import Progress


class PlainCluster(Cluster):
    """What `kind create cluster --wait` makes, with nothing of ours in its configuration."""

    def _run_kind_create(self, config: object, lease: object) -> None:
        file = self.path / "plain.yaml"
        document = read_config(default_kind_config())
        # Not a choice of ours: without it no kubelet starts under cgroup v1.
        document["kubeadmConfigPatches"] = ["kind: KubeletConfiguration\nfailCgroupV1: false\n"]
        file.write_text(yaml.safe_dump(document))
        subprocess.run(
            [
                str(self.kind_path), "create", "cluster", f"--name={self.name}", "--wait=180s",
                f"--image={self.image}", f"--config={file}", "--quiet",
                f"--kubeconfig={self.kubeconfig_path}",
            ],
            env={**os.environ, **self.engine.env},
            check=True,
        )  # fmt: skip
        start_probes(self, kube_proxy_share=False)

    def _prove(self) -> None:
        prove_ready(self)


def run(runs: int, plain_runs: int) -> None:
    """Measure ours `runs` times and plain kind `plain_runs` times, in turns."""
    ours = Figure("cluster of 3 nodes, command to proven ready", target=15.0)
    worst = Figure("the same, worst run", target=25.0)
    plain = Figure("`kind create cluster --wait`, then the same check")
    ratio = Figure("ours / plain, pair by pair", unit="", target=0.6)
    for number in range(runs):
        cluster = Cluster("bench-ours", progress=Progress(quiet=True))
        _ = cluster.bundle
        os.sync()  # What the last cluster left to write is no part of this one's time.
        with ours.timed():
            cluster.create()
        cluster.delete()
        if number < plain_runs:
            other = PlainCluster("bench-plain", progress=Progress(quiet=True))
            _ = other.bundle
            os.sync()
            with plain.timed():
                other.create()
            other.delete()
            ratio.values.append(ours.values[-1] / plain.values[-1])
        print(f"{number + 1}/{runs}: {[round(f.values[-1], 1) for f in (ours, plain) if f.values]}")
    worst = dataclasses.replace(worst, values=[max(ours.values)])
    write("start", [ours, worst, *([plain, ratio] if plain.values else [])])
