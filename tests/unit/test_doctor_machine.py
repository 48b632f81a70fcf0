"""What the machine offers, judged from given figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from servicelab.doctor.machine import (
    GIB,
    capabilities_finding,
    cgroup_finding,
    disk_finding,
    inotify_finding,
    memory_finding,
    python_finding,
)


def test_an_old_python_is_an_error() -> None:
    """The project needs 3.11."""
    assert python_finding((3, 10, 9)).level == "error"
    assert python_finding((3, 11, 0)).level == "ok"


def test_the_version_of_control_groups_is_told(tmp_path: Path) -> None:
    """v2 by its controllers file, v1 by a controller's folder, none is an error."""
    assert cgroup_finding(tmp_path).level == "error"

    (tmp_path / "memory").mkdir()
    assert "v1" in cgroup_finding(tmp_path).seen

    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    assert cgroup_finding(tmp_path).seen == "cgroup v2"


@pytest.mark.parametrize(
    ("mask", "level", "words"),
    [
        ("000001ffffffffff", "ok", "CAP_SYS_RESOURCE"),
        ("000001fffeffffff", "note", "no CAP_SYS_RESOURCE"),
        ("000001fffedfffff", "warn", "without CAP_SYS_ADMIN"),
        ("0000000000000000", "warn", "without CAP_NET_ADMIN, CAP_SYS_ADMIN"),
    ],
)
def test_capabilities_are_read_from_the_mask(mask: str, level: str, words: str) -> None:
    """The bits are those of linux/capability.h."""
    found = capabilities_finding(f"Name:\tx\nCapPrm:\t0\nCapEff:\t{mask}\n", root=True)

    assert found.level == level
    assert words in found.seen


def test_capabilities_do_not_matter_to_others_than_root() -> None:
    """They use an existing Docker, which has its own."""
    assert capabilities_finding("CapEff:\t0\n", root=False).level == "ok"


def test_low_inotify_limits_name_the_sysctl() -> None:
    """Only the one that is too low."""
    low = inotify_finding(128, 192536)

    assert low.level == "warn"
    assert low.remedy == "as root: sysctl -w fs.inotify.max_user_instances=512"
    assert "max_user_watches=524288" in inotify_finding(1024, 8192).remedy
    assert inotify_finding(256, 65536).level == "ok"


@pytest.mark.parametrize(("gib", "level"), [(4.0, "ok"), (3.9, "warn"), (1.9, "error")])
def test_memory_is_judged_by_what_a_run_takes(gib: float, level: str) -> None:
    """A whole lab run takes up to 4 GiB."""
    assert memory_finding(int(gib * GIB)).level == level


@pytest.mark.parametrize(("gib", "level"), [(15, "ok"), (14, "warn"), (3, "error")])
def test_disk_is_judged_by_what_a_build_takes(gib: int, level: str) -> None:
    """The remedy names the variable that moves the cache."""
    found = disk_finding(gib * GIB, Path("/c"))

    assert found.level == level
    assert ("SERVICELAB_CACHE" in found.remedy) == (level != "ok")
