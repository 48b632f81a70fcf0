"""Kernel features are told from what the kernel says of itself."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from servicelab.doctor.finding import Finding
from servicelab.doctor.kernel import (
    CONTAINERS,
    IPTABLES_BACKENDS,
    IPTABLES_MATCHES,
    IPVS,
    NFTABLES,
    Feature,
    Kernel,
    container_findings,
    missing_for_ipvs,
    mode_findings,
    read_kernel,
)

ALL = {
    feature
    for group in (*IPTABLES_BACKENDS, IPTABLES_MATCHES, NFTABLES, IPVS, CONTAINERS)
    for feature in group
}


def never(module: str) -> bool:
    return False


def kernel(
    *,
    without: set[str] | None = None,
    release: str = "6.12.1",
    loads: Callable[[str], bool] = never,
) -> Kernel:
    """A kernel that has every feature built in but some modules'."""
    gone = without or set()
    options = {feature.option: "y" for feature in ALL if feature.module not in gone}
    return Kernel(release, {"CONFIG_X": "y", **options}, frozenset(), loads)


def modes(seen: Kernel) -> dict[str, Finding]:
    return {finding.name: finding for finding in mode_findings(seen)}


def test_a_whole_kernel_runs_every_mode() -> None:
    """Nothing missing, nothing to do."""
    findings = [*mode_findings(kernel()), *container_findings(kernel())]

    assert {finding.level for finding in findings} == {"ok"}
    assert all(not finding.remedy for finding in findings)


@pytest.mark.parametrize(("machine", "way"), [("x86_64", "in a guest"), ("aarch64", "skipped")])
def test_the_way_of_ipvs_is_told(machine: str, way: str) -> None:
    """On the kernel itself, in a guest, or not at all."""
    without = mode_findings(kernel(without={"ip_vs"}), machine)[-1]
    native = mode_findings(kernel(), machine)[-1]

    assert way in without.remedy
    assert "without a guest" in native.seen


def test_ipvs_needs_a_guest_only_where_it_is_known_to_be_missing() -> None:
    """A module that can be loaded is enough, and so is a kernel that does not tell."""
    modular = Kernel("6.12.1", {"CONFIG_IP_VS": "m"}, frozenset(), lambda module: True)
    silent = Kernel("6.12.1", {}, frozenset(), never)

    assert missing_for_ipvs(kernel()) == ()
    assert missing_for_ipvs(kernel(without={"ip_vs", "dummy"})) == ("ip_vs", "dummy")
    assert "ip_vs" not in missing_for_ipvs(modular)
    assert missing_for_ipvs(silent) == ()


def test_a_kernel_without_ip_vs_lacks_ipvs_only() -> None:
    """It is a note, with what lacks."""
    found = modes(kernel(without={"ip_vs", "ip_vs_rr", "dummy"}))

    assert found["kernel: ipvs mode"].level == "note"
    assert "ip_vs, ip_vs_rr, dummy" in found["kernel: ipvs mode"].seen
    assert found["kernel: iptables mode"].level == "ok"
    assert found["kernel: nftables mode"].level == "ok"


@pytest.mark.parametrize("gone", [{"nf_tables", "nft_compat"}, {"ip_tables", "iptable_nat"}])
def test_one_backend_is_enough_for_iptables(gone: set[str]) -> None:
    """iptables runs on nf_tables or on ip_tables."""
    assert modes(kernel(without=gone))["kernel: iptables mode"].level == "ok"


def test_iptables_needs_its_matches() -> None:
    """Session affinity is written with xt_recent: without it the mode is warned of."""
    found = modes(kernel(without={"xt_recent"}))["kernel: iptables mode"]

    assert found.level == "warn"
    assert "xt_recent" in found.seen


def test_an_old_kernel_has_no_nftables_mode() -> None:
    """kube-proxy asks for 5.13 in this mode."""
    assert modes(kernel(release="5.10.0-30-amd64"))["kernel: nftables mode"].level == "warn"
    assert modes(kernel(release="5.13.0"))["kernel: nftables mode"].level == "ok"


def test_a_module_that_could_be_loaded_is_fine() -> None:
    """Built as a module and found by modprobe's dry run."""
    options = {feature.option: "m" for feature in ALL}

    found = modes(Kernel("6.1.0", options, frozenset(), lambda module: True))
    absent = modes(Kernel("6.1.0", options, frozenset(), never))

    assert found["kernel: ipvs mode"].level == "ok"
    assert "loads ip_vs" in found["kernel: ipvs mode"].seen
    assert absent["kernel: ipvs mode"].level == "note"


def test_a_kernel_that_tells_nothing_is_unknown_not_missing() -> None:
    """Without a configuration and without modules nobody can say."""
    found = modes(Kernel("6.1.0", {}, frozenset(), never))

    assert found["kernel: iptables mode"].level == "note"
    assert "does not tell" in found["kernel: iptables mode"].seen


def test_no_overlay_stops_everything_no_br_netfilter_does_not() -> None:
    """Containers need the first; only some traffic needs the second."""
    assert container_findings(kernel(without={"overlay"}))[0].level == "error"
    assert container_findings(kernel(without={"br_netfilter"}))[0].level == "warn"


def test_facts_are_read_from_every_place(tmp_path: Path) -> None:
    """Configuration, loaded modules, built-in ones, file systems and sysctl folders."""
    release = "6.1.0-test"
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text(release + "\n")
    (tmp_path / "proc/sys/net/bridge").mkdir(parents=True)
    (tmp_path / "proc/modules").write_text("ip_vs 200704 2 - Live 0x0\n")
    (tmp_path / "proc/filesystems").write_text("nodev\tproc\nnodev\toverlay\n")
    config = b"CONFIG_NF_TABLES=y\n# CONFIG_IP_VS_RR is not set\nCONFIG_DUMMY=m\n"
    (tmp_path / "proc/config.gz").write_bytes(gzip.compress(config))
    modules = tmp_path / "lib/modules" / release
    modules.mkdir(parents=True)
    (modules / "modules.builtin").write_text("kernel/net/netfilter/ipset/ip_set.ko\n")

    seen = read_kernel(tmp_path)

    assert seen.release == release
    assert seen.modules == {"ip_vs", "ip_set", "overlay", "bridge", "br_netfilter"}
    assert seen.presence(Feature("nf_tables", "CONFIG_NF_TABLES")) == "there"
    assert seen.presence(Feature("ip_vs_rr", "CONFIG_IP_VS_RR")) == "missing"


def test_the_configuration_in_boot_does_as_well(tmp_path: Path) -> None:
    """Distributions keep it there instead of in the kernel."""
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.1.0\n")
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/config-6.1.0").write_text("CONFIG_VETH=y\n")

    assert read_kernel(tmp_path).options == {"CONFIG_VETH": "y"}
