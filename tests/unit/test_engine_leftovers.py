"""What a killed engine left is found by what is only its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path

from servicelab.engine import leftovers
from servicelab.host import process_identity

ID = "0123456789abcdef" * 4
OTHER = "f" * 64


def test_mounts_are_found_innermost_first(tmp_path: Path) -> None:
    """Unmounting in this order works; what is outside the folder is not touched."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(
        "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
        "42 27 254:0 /c /c/data rw shared:1 - ext4 /dev/vda rw\n"
        "46 42 0:39 / /c/data/overlay\\0402/merged rw shared:2 - overlay overlay rw\n"
        "50 27 0:40 / /c/database rw - tmpfs tmpfs rw\n"
    )

    assert leftovers.mounts_below([Path("/c/data")], mountinfo) == [
        Path("/c/data/overlay 2/merged"),
        Path("/c/data"),
    ]


def test_bridges_are_found_by_name_and_address() -> None:
    """Another Docker's bridge, and a bridge of the user's own, are left alone."""

    def link(name: str, address: str) -> dict[str, object]:
        return {"ifname": name, "addr_info": [{"family": "inet", "local": address}]}

    listed = [
        link("br-0123456789ab", "172.30.0.1"),
        link("br-fedcba987654", "172.18.0.1"),
        link("br-lan", "172.30.9.1"),
        {},
        {"ifname": "br-aaaaaaaaaaaa", "addr_info": []},
    ]

    found = leftovers.parse_bridges(json.dumps(listed), IPv4Network("172.30.0.0/16"))

    assert found == ["br-0123456789ab"]


def test_container_processes_are_found_by_their_control_group(tmp_path: Path) -> None:
    """Whatever a container's process calls itself, its group names the container."""
    (tmp_path / "containers" / ID).mkdir(parents=True)
    proc = tmp_path / "proc"
    for pid, group in ((os.getpid(), f"/docker/{ID}/kubelet"), (os.getppid(), f"/docker/{OTHER}")):
        (proc / str(pid)).mkdir(parents=True)
        (proc / str(pid) / "cgroup").write_text(f"3:memory:{group}\n")

    assert leftovers.container_processes(tmp_path / "containers", proc) == [process_identity()]
    assert leftovers.container_processes(tmp_path / "none", proc) == []


def test_processes_are_found_by_the_engines_own_folder(tmp_path: Path) -> None:
    """A folder whose name only begins the same is another engine's."""
    code = "import sys; sys.stdin.read()"
    inside, beside = [
        subprocess.Popen(
            [sys.executable, "-c", code, f"--config={folder}/x"], stdin=subprocess.PIPE
        )
        for folder in (tmp_path / "run", tmp_path / "run-2")
    ]
    try:
        found = [identity.pid for identity in leftovers.processes_below(tmp_path / "run")]
        assert found == [inside.pid]
    finally:
        for process in (inside, beside):
            process.communicate()


def test_end_waits_until_the_process_is_gone() -> None:
    """A signalled process is gone when `end` returns; ending it again is no error."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = process_identity(process.pid)

    assert leftovers.end([identity], signal.SIGKILL)
    assert not identity.is_alive()
    assert leftovers.end([identity], signal.SIGKILL)
    process.communicate()


def test_shim_sockets_are_those_the_engine_wrote_down(tmp_path: Path) -> None:
    """The folder of these sockets is shared with every containerd of the host."""
    task = tmp_path / "containerd/daemon/io.containerd.runtime.v2.task/moby" / ID
    task.mkdir(parents=True)
    (task / "address").write_text("unix:///run/containerd/s/abc\n")

    assert leftovers.shim_sockets(tmp_path) == [Path("/run/containerd/s/abc")]


def test_control_groups_are_removed_with_their_children(tmp_path: Path) -> None:
    """Only those of the engine's containers, in each controller's tree."""
    for controller in ("memory", "pids"):
        (tmp_path / controller / "docker" / ID / "kubelet").mkdir(parents=True)
    (tmp_path / "memory/docker" / OTHER).mkdir()

    leftovers.remove_cgroups([ID], tmp_path)

    assert [path.name for path in (tmp_path / "memory/docker").iterdir()] == [OTHER]
    assert not (tmp_path / "pids/docker").exists()
