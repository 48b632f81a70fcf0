"""`kubectl port-forward`: a port of this machine that leads into the cluster.

It bypasses kube-proxy, so it proves nothing about a Service.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from servicelab.errors import InfrastructureError


@contextmanager
def forwarded(
    argv: Sequence[str], env: Mapping[str, str], remote_port: int, local_port: int | None
) -> Iterator[int]:
    """Run a port-forward and give the local port.

    Args:
        argv: kubectl, `port-forward`, its target and options.
        env: kubectl's whole environment.
        remote_port: the port there.
        local_port: the port here; None lets kubectl choose a free one.

    Raises:
        InfrastructureError: kubectl ended before it listened.
    """
    process = subprocess.Popen(
        [*argv, f"{local_port or ''}:{remote_port}"],
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("Forwarding from 127.0.0.1:"):
            raise InfrastructureError(
                f"`kubectl {' '.join(argv[1:])}` did not listen: "
                f"{line.strip() or 'it printed nothing'}"
            )
        yield int(line.split("127.0.0.1:")[1].split()[0])
    finally:
        process.kill()
        process.wait()
