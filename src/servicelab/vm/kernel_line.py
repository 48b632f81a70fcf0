"""The command line of a guest's kernel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Files in a guest's folder.
INIT = "init"
COPY_ON_WRITE = "cow"
DATA = "data"


@dataclass(frozen=True, slots=True)
class Lines:
    """The file descriptors that the guest's serial lines lead to.

    Attributes:
        out: gets the command's stdout.
        err: gets its stderr.
        to_guest: brings signals.
        from_guest: gets how it stands and how it ended.
        reports: gets what the command writes to its third descriptor.
    """

    out: int
    err: int
    to_guest: int
    from_guest: int
    reports: int

    @property
    def all(self) -> tuple[int, ...]:
        """Every one of them."""
        return (self.out, self.err, self.to_guest, self.from_guest, self.reports)


def kernel_line(
    kernel: Path, folder: Path, lines: Lines, *, memory: int, processor: int
) -> list[str]:
    """The command that starts a guest: pinned to a processor, gone with the process that starts it.

    Pinned, because each system call in the guest bounces between two threads of the host: that
    takes 4 µs on one processor and 57 µs across two.

    Args:
        kernel: the kernel's binary.
        folder: the guest's own, with `init` and the link `data` in it; its path has no blanks.
        lines: what the serial lines lead to.
        memory: MiB.
        processor: the number of the host's processor.
    """
    return [
        *("setpriv", "--pdeathsig", "KILL"),
        *("taskset", "--cpu-list", str(processor)),
        str(kernel),
        f"mem={memory}M",
        "ncpus=1",
        "seccomp=auto",
        *("root=/dev/root", "rootfstype=hostfs", "hostfs=/", "ro"),
        *(f"uml_dir={folder}", "umid=uml"),
        f"init={folder / INIT}",
        # Not before init: it would hide the host's /dev/shm, where init is.
        "devtmpfs.mount=0",
        f"ubd0={folder / COPY_ON_WRITE},{folder / DATA}",
        *("con=null", "con0=null", "ssl=null"),
        f"ssl0=null,fd:{lines.out}",
        f"ssl1=null,fd:{lines.err}",
        "ssl2=null,fd:1",
        f"ssl3=fd:{lines.to_guest},fd:{lines.from_guest}",
        f"ssl4=null,fd:{lines.reports}",
        *("console=ttyS2", "quiet"),
        # Timers go off with the next tick, every 10 ms, together. What Go's runtime sleeps in
        # microseconds wakes an idle cluster a third as often.
        "highres=off",
        # Who waits for whom is not counted at each change of threads.
        "psi=0",
        "panic=-1",
        # kube-proxy makes its own.
        "dummy.numdummies=0",
    ]
