"""The node's root file system without Kubernetes: a minimal Debian with systemd."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from servicelab import debian
from servicelab.apt_sources import machine_mirror
from servicelab.bundle.bench import Bench
from servicelab.bundle.confine import OWN_PROCESSES
from servicelab.bundle.rootfs import SUPERFLUOUS
from servicelab.bundle.steps import Step, make_step
from servicelab.pins import pins

NODE_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "kmod", "mount", "procps", "util-linux", "netbase"),
    *("iptables", "nftables", "ebtables", "ipset", "ipvsadm", "conntrack", "ethtool", "iproute2"),
    *("containernetworking-plugins", "ca-certificates", "curl", "jq", "socat"),
    # For those who look around in a node.
    *("bind9-dnsutils", "iputils-ping", "tcpdump"),
)
CLEARED = (
    *SUPERFLUOUS,
    *("var/lib/apt/lists", "var/cache/apt", "var/cache/debconf", "var/log", "usr/share/zoneinfo"),
)

# debootstrap downloads with wget alone. apt's own downloader is on every Debian, and goes the
# way that apt is configured to go, through a proxy for instance.
WGET = """#!/bin/sh
to= from=
while [ $# -gt 0 ]; do
  case "$1" in
    -O) to=$2; shift ;;
    -*) ;;
    *) from=$1 ;;
  esac
  shift
done
rm -f "$to"
exec /usr/lib/apt/apt-helper -q download-file "$from" "$to"
"""


def node_base_step() -> Step:
    """A tar of the root file system, made by debootstrap from this machine's own mirror."""
    suite = pins().debian["node_suite"]
    tool_suite = pins().debian["engine_suite"]

    def build(bench: Bench) -> None:
        tool = bench.scratch / "debootstrap"
        debian.unpack(debian.fetch(tool_suite, ["debootstrap"], bench.scratch / "debs"), tool)
        root = bench.scratch / "root"
        bench.run(
            *OWN_PROCESSES, "sh", tool / "usr/sbin/debootstrap", "--variant=minbase",
            *_keyring(), f"--include={','.join(NODE_PACKAGES)}",
            suite, root, machine_mirror().archive,
            env=_environment(bench, tool),
        )  # fmt: skip
        for name in CLEARED:
            _clear(root / name)
        # Names of this machine that debootstrap copied.
        for name in ("etc/hostname", "etc/resolv.conf", "etc/apt/sources.list"):
            (root / name).unlink(missing_ok=True)
        bench.run(
            "tar", "--create", "--file", bench.folder / "base.tar", "--numeric-owner",
            "--sort=name", "--xattrs", "--directory", root, ".",
        )  # fmt: skip

    facts = {"suite": suite, "packages": NODE_PACKAGES, "without": CLEARED}
    return make_step("node-base", build, facts=facts, disk=900)


def _environment(bench: Bench, tool: Path) -> dict[str, str]:
    programs = bench.scratch / "bin"
    programs.mkdir()
    (programs / "wget").write_text(WGET)
    (programs / "wget").chmod(0o755)
    inherited = os.environ.get("PATH", "/usr/bin:/bin")
    return {
        **os.environ,
        "DEBOOTSTRAP_DIR": str(tool / "usr/share/debootstrap"),
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C",
        "PATH": f"{programs}:{inherited}:/usr/sbin:/sbin",
    }


def _keyring() -> list[str]:
    for name in debian.KEYRING_NAMES:
        path = debian.KEYRING_FOLDER / name
        if path.exists():
            return [f"--keyring={path}"]
    return []


def _clear(folder: Path) -> None:
    """Empty a folder, but keep it: some programs expect it."""
    if folder.is_dir():
        for child in folder.iterdir():
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()
