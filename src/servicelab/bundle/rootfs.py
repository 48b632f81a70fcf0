"""Root file systems from Debian packages, small ones for single programs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from servicelab import debian
from servicelab.bundle.bench import Bench
from servicelab.bundle.steps import Step, make_step
from servicelab.pins import pins

# What each program needs at run time: packages are fetched without their dependencies, so the
# lists are whole. `_try` proves that nothing is missing.
C_LIBRARY = ("libc6", "libgcc-s1", "zlib1g")
PROBE_PACKAGES = (
    *C_LIBRARY,
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "python3-dnspython"),
    *("libexpat1", "libssl3", "libffi8", "libbz2-1.0", "liblzma5", "libuuid1", "libcrypt1"),
    *("libtirpc3", "libnsl2", "libdb5.3", "libreadline8", "libtinfo6", "libsqlite3-0"),
    *("iproute2", "libbpf1", "libelf1", "libmnl0", "libcap2", "libbsd0", "libmd0"),
    *("libselinux1", "libpcre2-8-0", "libxtables12"),
)
KUBE_PROXY_PACKAGES = (
    *C_LIBRARY,
    *("iptables", "libxtables12", "libip4tc2", "libip6tc2", "libmnl0", "libnftnl11"),
    *("libnfnetlink0", "libnetfilter-conntrack3", "nftables", "libnftables1", "libgmp10"),
    *("libjansson4", "libedit2", "libbsd0", "libmd0", "libtinfo6", "ipset", "libipset13"),
    *("conntrack", "kmod", "libkmod2", "liblzma5", "libzstd1", "libssl3", "dash", "coreutils"),
    *("libacl1", "libattr1", "libselinux1", "libpcre2-8-0"),
    # Without /etc/protocols nft lists a map's keys with numbers; kube-proxy, when it starts again,
    # takes them for stale ones and deletes what it has just written under the names.
    "netbase",
)
IPTABLES = ("iptables", "ip6tables")
# What no program of an image reads.
SUPERFLUOUS = (
    *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian"),
    *("usr/share/bug", "usr/share/bash-completion", "usr/share/doc-base", "usr/share/applications"),
)
PYTHON = "3.11"
STDLIB = f"usr/lib/python{PYTHON}"
STDLIB_SUPERFLUOUS = (
    *("test", "idlelib", "lib2to3", "ensurepip", "tkinter", "turtledemo", "distutils", "venv"),
    *("pydoc_data", "unittest/test", "ctypes/test", "sqlite3/test"),
)


def probe_root_step() -> Step:
    """Python, dnspython and iproute2; the probe's own scripts come with its image."""
    suite = pins().debian["node_suite"]

    def build(bench: Bench) -> None:
        root = _unpack(bench, suite, PROBE_PACKAGES)
        for name in STDLIB_SUPERFLUOUS:
            shutil.rmtree(root / STDLIB / name, ignore_errors=True)
        _link(root / "usr/bin/python3", "python3.11")
        _complete(bench, root)
        # Each exec of the probe starts Python anew. Unchecked, because the archive's files all
        # have the same time.
        for folder in (STDLIB, "usr/lib/python3/dist-packages"):
            bench.run(
                "chroot", root, "/usr/bin/python3", "-m", "compileall", "-q",
                "--invalidation-mode", "unchecked-hash", f"/{folder}",
            )  # fmt: skip
        program = "import dns.message, dns.query, http.client, json, socket, ssl"
        _try(bench, root, "/usr/bin/python3", "-c", program)
        _try(bench, root, "/bin/ip" if (root / "bin/ip").exists() else "/usr/sbin/ip", "-V")

    facts = {
        "suite": suite,
        "packages": PROBE_PACKAGES,
        "without": [*SUPERFLUOUS, *STDLIB_SUPERFLUOUS],
    }
    return make_step("probe-root", build, facts=facts, disk=80)


def kube_proxy_root_step() -> Step:
    """The programs that kube-proxy runs: iptables on nftables, nft, ipset, conntrack."""
    suite = pins().debian["node_suite"]

    def build(bench: Bench) -> None:
        root = _unpack(bench, suite, KUBE_PROXY_PACKAGES)
        for tool in IPTABLES:
            for suffix in ("", "-save", "-restore"):
                _link(root / "usr/sbin" / f"{tool}{suffix}", "xtables-nft-multi")
        _link(root / "bin/sh", "dash")
        _complete(bench, root)
        for program in ("iptables", "ip6tables", "nft", "ipset", "conntrack"):
            _try(bench, root, f"/usr/sbin/{program}", "--version")
        _try(bench, root, "/bin/cat", "/etc/protocols")

    facts = {"suite": suite, "packages": KUBE_PROXY_PACKAGES, "without": SUPERFLUOUS}
    return make_step("kube-proxy-root", build, facts=facts, disk=60)


def _unpack(bench: Bench, suite: str, packages: Sequence[str]) -> Path:
    root = bench.folder / "root"
    debian.unpack(debian.fetch(suite, packages, bench.scratch / "debs"), root)
    for name in SUPERFLUOUS:
        shutil.rmtree(root / name, ignore_errors=True)
    return root


def _complete(bench: Bench, root: Path) -> None:
    """Do what maintainer scripts would have done."""
    for name in ("tmp", "run", "proc", "sys", "dev", "etc", "root"):
        (root / name).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    bench.run(shutil.which("ldconfig") or "/sbin/ldconfig", "-r", root)


def _try(bench: Bench, root: Path, *command: str) -> None:
    """Run a program in its root, so that a missing library is found now and not in a cluster."""
    bench.run("chroot", root, *command)


def _link(link: Path, target: str) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target)
