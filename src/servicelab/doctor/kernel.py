"""What the running kernel offers: features per proxy mode; looked at, never loaded."""

from __future__ import annotations

import gzip
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from servicelab.doctor.finding import Finding

Presence = Literal["there", "loadable", "missing", "unknown"]

# kube-proxy's nftables mode asks for this (its own preflight check).
NFTABLES_KERNEL = (5, 13)


@dataclass(frozen=True, slots=True)
class Feature:
    """A kernel feature: the module that brings it, and the option that builds it."""

    module: str
    option: str


IN_A_GUEST = (
    "claims about IPVS are tried in a guest whose kernel has it, which root can start: "
    "see `servicelab vm status`"
)
NF_TABLES = Feature("nf_tables", "CONFIG_NF_TABLES")
# Where they are compiled without one of these, each mode's rules can't be written.
IPTABLES_MATCHES = (
    Feature("xt_comment", "CONFIG_NETFILTER_XT_MATCH_COMMENT"),
    Feature("xt_conntrack", "CONFIG_NETFILTER_XT_MATCH_CONNTRACK"),
    Feature("xt_statistic", "CONFIG_NETFILTER_XT_MATCH_STATISTIC"),
    Feature("xt_recent", "CONFIG_NETFILTER_XT_MATCH_RECENT"),
    Feature("xt_mark", "CONFIG_NETFILTER_XT_MARK"),
)
# Either of them runs iptables: the first as iptables-nft, the second as iptables-legacy.
IPTABLES_BACKENDS = (
    (NF_TABLES, Feature("nft_compat", "CONFIG_NFT_COMPAT")),
    (Feature("ip_tables", "CONFIG_IP_NF_IPTABLES"), Feature("iptable_nat", "CONFIG_IP_NF_NAT")),
)
NFTABLES = (
    NF_TABLES,
    Feature("nft_ct", "CONFIG_NFT_CT"),
    Feature("nft_nat", "CONFIG_NFT_NAT"),
    Feature("nft_masq", "CONFIG_NFT_MASQ"),
    Feature("nft_numgen", "CONFIG_NFT_NUMGEN"),
    Feature("nft_fib", "CONFIG_NFT_FIB"),
)
IPVS = (
    Feature("ip_vs", "CONFIG_IP_VS"),
    Feature("ip_vs_rr", "CONFIG_IP_VS_RR"),
    Feature("ip_set", "CONFIG_IP_SET"),
    Feature("dummy", "CONFIG_DUMMY"),
)
CONTAINERS = (
    Feature("overlay", "CONFIG_OVERLAY_FS"),
    Feature("bridge", "CONFIG_BRIDGE"),
    Feature("veth", "CONFIG_VETH"),
    Feature("br_netfilter", "CONFIG_BRIDGE_NETFILTER"),
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """What is known of a kernel.

    Attributes:
        release: as `uname -r` prints it.
        options: its build configuration; empty if it does not tell.
        modules: names that are loaded or built in.
        loads: whether a module could be loaded; asked for what is in none of the others.
    """

    release: str
    options: Mapping[str, str]
    modules: frozenset[str]
    loads: Callable[[str], bool]

    def presence(self, feature: Feature) -> Presence:
        """Whether the feature is there, could be loaded, is missing, or can't be told."""
        if feature.module in self.modules:
            return "there"
        value = self.options.get(feature.option)
        if value == "y":
            return "there"
        if (value == "m" or not self.options) and self.loads(feature.module):
            return "loadable"
        return "missing" if self.options else "unknown"

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor number; (0, 0) if the release is no version."""
        match = re.match(r"(\d+)\.(\d+)", self.release)
        return (int(match[1]), int(match[2])) if match else (0, 0)


def read_kernel(root: Path = Path("/")) -> Kernel:
    """The kernel of this machine.

    Args:
        root: where proc, sys, boot and lib are.
    """
    release = (root / "proc/sys/kernel/osrelease").read_text().strip()
    modules: set[str] = set()
    loaded = root / "proc/modules"
    if loaded.exists():
        modules |= {line.split()[0] for line in loaded.read_text().splitlines()}
    builtin = root / "lib/modules" / release / "modules.builtin"
    if builtin.exists():
        names = (Path(line).name for line in builtin.read_text().splitlines())
        modules |= {name.partition(".ko")[0].replace("-", "_") for name in names}
    filesystems = root / "proc/filesystems"
    if filesystems.exists() and "\toverlay" in filesystems.read_text():
        modules.add("overlay")
    if (root / "proc/sys/net/bridge").exists():
        modules |= {"bridge", "br_netfilter"}
    if (root / "proc/net/ip_vs").exists():
        modules.add("ip_vs")
    return Kernel(release, _options(root, release), frozenset(modules), _modprobe_finds)


def _options(root: Path, release: str) -> dict[str, str]:
    packed, plain = root / "proc/config.gz", root / "boot" / f"config-{release}"
    if packed.exists():
        text = gzip.decompress(packed.read_bytes()).decode()
    elif plain.exists() and os.access(plain, os.R_OK):
        text = plain.read_text()
    else:
        return {}
    pairs = (line.partition("=") for line in text.splitlines() if line.startswith("CONFIG_"))
    return {name: value for name, _, value in pairs}


def _modprobe_finds(module: str) -> bool:
    modprobe = shutil.which("modprobe", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if modprobe is None:
        return False
    # -n: a dry run, nothing is loaded.
    command = [modprobe, "-n", "-q", module]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=1, check=False
    )
    return done.returncode == 0


def mode_findings(kernel: Kernel, machine: str = platform.machine()) -> list[Finding]:
    """One finding for each proxy mode.

    Args:
        kernel: what is known of it.
        machine: the processor's kind, such as "x86_64".
    """
    backends = [_lacking(kernel, (*backend, *IPTABLES_MATCHES)) for backend in IPTABLES_BACKENDS]
    iptables = _mode(kernel, "iptables", min(backends, key=len))
    nftables = _mode(kernel, "nftables", _lacking(kernel, NFTABLES))
    if kernel.version < NFTABLES_KERNEL:
        wanted = ".".join(map(str, NFTABLES_KERNEL))
        nftables = Finding(
            nftables.name,
            "warn",
            f"kernel {kernel.release} is older than {wanted}",
            "use a newer kernel, or --proxy-mode iptables",
        )
    ipvs = _mode(kernel, "ipvs", _lacking(kernel, IPVS))
    if ipvs.level == "warn":
        # The mode that Kubernetes retires: most labs don't need it.
        way = IN_A_GUEST if machine == "x86_64" else "claims about IPVS are skipped here"
        ipvs = Finding(ipvs.name, "note", ipvs.seen, way)
    elif ipvs.level == "ok":
        ipvs = replace(ipvs, seen=f"{ipvs.seen}; IPVS runs on it, without a guest")
    return [iptables, nftables, ipvs]


def missing_for_ipvs(kernel: Kernel | None = None) -> tuple[str, ...]:
    """Modules that IPVS mode needs and a kernel is known to lack; none if kube-proxy may try.

    Args:
        kernel: what is known of it; by default this machine's.
    """
    lacking = _lacking(kernel or read_kernel(), IPVS)
    return tuple(name for name, presence in lacking.items() if presence == "missing")


def container_findings(kernel: Kernel) -> list[Finding]:
    """Whether containers and their networks can work."""
    lacking = _lacking(kernel, CONTAINERS)
    missing = [name for name, presence in lacking.items() if presence == "missing"]
    if missing:
        fatal = any(name != "br_netfilter" for name in missing)
        return [
            Finding(
                "kernel: containers",
                "error" if fatal else "warn",
                f"kernel {kernel.release} lacks {', '.join(missing)}",
                "use a kernel that has them, as distributions' own kernels do",
            )
        ]
    return [Finding("kernel: containers", *_known(kernel, lacking))]


def _lacking(kernel: Kernel, features: tuple[Feature, ...]) -> dict[str, Presence]:
    seen = {feature.module: kernel.presence(feature) for feature in features}
    return {name: presence for name, presence in seen.items() if presence != "there"}


def _mode(kernel: Kernel, mode: str, lacking: Mapping[str, Presence]) -> Finding:
    missing = [name for name, presence in lacking.items() if presence == "missing"]
    if missing:
        return Finding(
            f"kernel: {mode} mode",
            "warn",
            f"kernel {kernel.release} lacks {', '.join(missing)}",
            "use a kernel that has them, or another proxy mode",
        )
    return Finding(f"kernel: {mode} mode", *_known(kernel, lacking))


def _known(
    kernel: Kernel, lacking: Mapping[str, Presence]
) -> tuple[Literal["ok", "note"], str, str]:
    unknown = [name for name, presence in lacking.items() if presence == "unknown"]
    if unknown:
        seen = f"kernel {kernel.release} does not tell whether it has {', '.join(unknown)}"
        return "note", seen, "it shows when the mode is switched on"
    loadable = ", ".join(lacking)
    return "ok", f"kernel {kernel.release}" + (f", loads {loadable}" if loadable else ""), ""
