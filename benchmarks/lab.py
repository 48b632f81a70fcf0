"""A whole lab run on a kept cluster: its time, its claims' times, its memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from benchmarks.figures import Figure, write

CLAIMS = Path(".servicelab/benchmarks/lab/claims.json")
SAMPLE_SECONDS = 0.5


class PeakMemory:
    """The most memory in use, of the whole machine above its start and of one process tree."""

    def __init__(self, pid: int, idle: int) -> None:
        self.pid, self.idle = pid, idle
        self.machine = self.harness = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            used = psutil.virtual_memory()
            self.machine = max(self.machine, used.total - used.available - self.idle)
            try:
                self.harness = max(self.harness, psutil.Process(self.pid).memory_info().rss)
            except psutil.NoSuchProcess:
                return

    def stop(self) -> None:
        """End the sampling."""
        self._stop.set()
        self._thread.join()


def run(runs: int, lab: str = "clusterip") -> None:
    """Run the lab from nothing once for the memory, then on the kept cluster for the times."""
    memory = psutil.virtual_memory()
    idle = memory.total - memory.available
    whole = Figure("memory of a lab run, cluster included", unit="MiB", target=4096)
    harness = Figure("memory of the harness itself", unit="MiB", target=200)
    seconds = Figure(f"labs/{lab}, one mode, kept cluster, without the slow test", target=90)
    median = Figure("its median claim", target=2.0)
    first = Figure("kept cluster: from `pytest` to the first assertion", target=5.0)
    command = [
        sys.executable, "-m", "pytest", f"labs/{lab}", "--keep-cluster", "--no-slow", "-q",
        f"--claims-json={CLAIMS}",
    ]  # fmt: skip
    CLAIMS.parent.mkdir(parents=True, exist_ok=True)
    for number in range(runs + 1):
        target = seconds if number else Figure("first run")
        with target.timed():
            process = subprocess.Popen(command, env={**os.environ, "NO_COLOR": "1"})
            peak = PeakMemory(process.pid, idle)
            status = process.wait()
            peak.stop()
        if status:
            sys.exit(f"the lab failed with {status}: no figures")
        if number == 0:
            whole.values.append(peak.machine / 2**20)
        else:
            harness.values.append(peak.harness / 2**20)
            claims = json.loads(CLAIMS.read_text())["claims"]
            durations = [entry["seconds"] for entry in claims if entry.get("seconds")]
            median.values.append(statistics.median(durations))
        if number:
            with first.timed():
                subprocess.run(
                    [sys.executable, "-m", "pytest", "benchmarks/first_assertion.py",
                     "--keep-cluster", "-q", "-p", "no:cacheprovider"],
                    check=True,
                )  # fmt: skip
    write("lab", [seconds, median, first, whole, harness])
