"""A Linux kernel with ip_vs that runs as an ordinary process (User-Mode Linux).

Made from the kernel sources that Debian's unstable suite carries: those of the stable suites lack
the system call interception by seccomp, without which a guest is several times slower.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from servicelab import debian
from servicelab.bundle.bench import Bench
from servicelab.bundle.steps import Step, make_step
from servicelab.errors import InfrastructureError
from servicelab.pins import pins

OPTIONS = Path(__file__).with_name("guestkernel.config")
#: The binary, in the folder of the step.
KERNEL = "linux"
#: The folder beside it with what belongs in /lib/modules/RELEASE.
MODULES = "modules"
#: Always depends on the newest sources' package.
META_PACKAGE = "linux-source"
#: seccomp=on came with 6.16, CONFIG_SMP with 6.19.
OLDEST = (6, 19)
COMPILER = ("gcc", "make")
# By the program that shows whether this machine has it: the packages that bring it.
SMALL_TOOLS = {
    "flex": ("flex", "m4", "libsigsegv2"),
    "bison": ("bison", "m4", "libsigsegv2"),
    "bc": ("bc", "libreadline8", "libtinfo6"),
    "xz": ("xz-utils", "liblzma5"),
    "depmod": ("kmod", "libkmod2", "liblzma5", "libzstd1", "libssl3"),
}
# The kubelet does not start without a processor's frequency, which this kernel does not show.
CPUINFO = Path("arch/um/kernel/um_arch.c")
CPUINFO_LINE = r"""	seq_printf(m, "model name\t: UML\n");
"""
CPUINFO_MORE = r"""	seq_printf(m, "cpu MHz\t\t: %lu.000\n", loops_per_jiffy / (500000 / HZ));
	seq_printf(m, "physical id\t: 0\ncore id\t\t: %d\n", i);
"""
# Not read by this build, and half of the disk space.
LEFT_OUT = ("*/Documentation/*.rst", "*/drivers/gpu/*.[ch]", "*/tools/testing/*", "*/sound/*.[ch]")
OPTION = re.compile(r"# (?P<off>CONFIG_\w+) is not set|(?P<name>CONFIG_\w+)=(?P<value>.*)")


def guest_kernel_step() -> Step:
    """The kernel that `servicelab vm` starts; some six minutes on two cores."""
    suite = pins().debian["guest_suite"]

    def build(bench: Bench) -> None:
        environment = _tools(bench)
        source = _source(bench, suite, environment)
        make = ("make", "-C", source, "ARCH=um", f"O={bench.scratch / 'build'}")
        configuration = bench.scratch / "build" / ".config"
        (bench.scratch / "build").mkdir()
        bench.run(*make, "x86_64_defconfig", env=environment)
        wanted = OPTIONS.read_text()
        with configuration.open("a") as file:
            file.write(wanted)
        bench.run(*make, "olddefconfig", env=environment)
        check_options(wanted, configuration.read_text())
        processors = len(os.sched_getaffinity(0))
        bench.run(*make, f"-j{processors}", "linux", env=environment)
        kernel, linux = bench.folder / KERNEL, bench.scratch / "build" / KERNEL
        bench.run("strip", "-o", kernel, linux, env=environment)
        shutil.copyfile(configuration, bench.folder / "config")
        _list_modules(bench, environment)

    facts = {"suite": suite, "source": META_PACKAGE, "cpuinfo": CPUINFO_MORE}
    return make_step("guest-kernel", build, facts=facts, files=[OPTIONS], disk=3500, root=False)


def check_options(wanted: str, got: str) -> None:
    """Compare a kernel's configuration with the options that were asked for.

    Args:
        wanted: lines such as "CONFIG_IP_VS=y" or "# CONFIG_MODULES is not set".
        got: the whole configuration, as `make olddefconfig` left it.

    Raises:
        InfrastructureError: some option is not as wanted; the sentence names each.
    """
    have = parse_options(got)
    other = [
        f"{name}={value or 'n'}"
        for name, value in parse_options(wanted).items()
        if have.get(name, "") != value
    ]
    if other:
        raise InfrastructureError(
            f"the guest's kernel can't be configured: these sources do not keep {', '.join(other)}",
            remedy=f"the options may have been renamed there; see servicelab/bundle/{OPTIONS.name}",
        )


def parse_options(text: str) -> dict[str, str]:
    """Kernel options by name; "" for one that is off. Other lines are left out."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := OPTION.fullmatch(line.strip()):
            found[match["off"] or match["name"]] = match["value"] or ""
    return found


def source_package(depends: str) -> str:
    """The package that holds the newest kernel sources, from the meta package's dependencies.

    Raises:
        InfrastructureError: there is none, or it is too old.
    """
    match = re.search(r"\blinux-source-(\d+)\.(\d+)\b", depends)
    if match is None or (int(match[1]), int(match[2])) < OLDEST:
        raise InfrastructureError(
            f"Debian's {META_PACKAGE} depends on {depends or 'nothing'}, and the guest needs "
            f"Linux {OLDEST[0]}.{OLDEST[1]} or newer",
            remedy="check that the machine's Debian mirror is up to date",
        )
    return match[0]


def _source(bench: Bench, suite: str, environment: Mapping[str, str]) -> Path:
    debs = bench.scratch / "debs"
    (meta,) = debian.fetch(suite, [META_PACKAGE], debs)
    package = source_package(bench.output("dpkg-deb", "--field", meta, "Depends"))
    debian.unpack(debian.fetch(suite, [package], debs), bench.scratch / "package")
    archive = bench.scratch / f"package/usr/src/{package}.tar.xz"
    if not archive.exists():
        raise InfrastructureError(f"Debian's package {package} has no /usr/src/{package}.tar.xz")
    source = bench.scratch / "source"
    source.mkdir()
    without = [f"--exclude={pattern}" for pattern in LEFT_OUT]
    bench.run(
        "tar", "--extract", "--xz", "--file", archive, "--directory", source,
        "--strip-components=1", *without, env=environment,
    )  # fmt: skip
    _show_frequency(source / CPUINFO)
    return source


def _show_frequency(file: Path) -> None:
    text = file.read_text()
    if CPUINFO_LINE not in text:
        raise InfrastructureError(
            f"these kernel sources print /proc/cpuinfo otherwise than expected, in {CPUINFO}",
            remedy="update servicelab",
        )
    file.write_text(text.replace(CPUINFO_LINE, CPUINFO_LINE + CPUINFO_MORE))


def _list_modules(bench: Bench, environment: Mapping[str, str]) -> None:
    """Make the lists that let `modprobe ip_vs` find out that it is built in."""
    build = bench.scratch / "build"
    release = (build / "include/config/kernel.release").read_text().strip()
    folder = bench.scratch / "lib/modules" / release
    folder.mkdir(parents=True)
    for name in ("modules.builtin", "modules.builtin.modinfo"):
        shutil.copyfile(build / name, folder / name)
    (folder / "modules.order").touch()
    bench.run("depmod", "--basedir", bench.scratch, release, env=environment)
    folder.rename(bench.folder / MODULES)


def _tools(bench: Bench) -> dict[str, str]:
    """The environment to build in; small programs that this machine lacks are unpacked for it."""
    if platform.machine() != "x86_64":
        raise InfrastructureError(
            f"a guest kernel can be built on x86_64 only, and this machine is {platform.machine()}"
        )
    if absent := [name for name in COMPILER if shutil.which(name) is None]:
        raise InfrastructureError(
            f"the guest's kernel is compiled here, and {' and '.join(absent)} is not installed",
            remedy="install them: apt install gcc make libc6-dev",
        )
    environment = {**os.environ, "LC_ALL": "C"}
    packages = [
        package
        for tool, packages in SMALL_TOOLS.items()
        if shutil.which(tool, path=f"{environment.get('PATH', '')}:/usr/sbin:/sbin") is None
        for package in packages
    ]
    if not packages:
        return environment
    root = bench.scratch / "tools"
    names = list(dict.fromkeys(packages))
    debian.unpack(
        debian.fetch(pins().debian["node_suite"], names, bench.scratch / "tools-debs"), root
    )
    if (root / "bin/kmod").exists():
        # The package's own link leads to /bin/kmod.
        (root / "usr/bin").mkdir(parents=True, exist_ok=True)
        (root / "usr/bin/depmod").symlink_to("../../bin/kmod")
    libraries = [str(path) for path in root.glob("*lib/*-linux-gnu")]
    libraries += [str(path) for path in root.glob("usr/lib/*-linux-gnu")]
    return {
        **environment,
        "PATH": ":".join(
            [environment.get("PATH", "/usr/bin:/bin"), "/usr/sbin", "/sbin"]
            + [str(root / folder) for folder in ("usr/bin", "usr/sbin", "bin", "sbin")]
        ),
        # After the machine's own: they only complete them.
        "LD_LIBRARY_PATH": ":".join(
            ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", *libraries]
        ),
        "BISON_PKGDATADIR": str(root / "usr/share/bison"),
        "M4": shutil.which("m4") or str(root / "usr/bin/m4"),
    }
