"""The guest's first process: gives it a root of its own, runs one command, says how it ended.

It runs inside the guest by `python -IS`, so it uses nothing but the standard library. What it does
is in `orders.json` beside it, as `servicelab.vm.orders` writes it. It talks over serial lines:

- ttyS0 and ttyS1 carry the command's stdout and stderr out,
- ttyS2 is the console,
- ttyS3 brings `signal NUMBER` and `unread STREAM`, and carries out `ready`, then `exit CODE` or
  `failed SENTENCE`,
- ttyS4 carries out what the command writes to its third descriptor, if the orders ask for that.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import termios
import threading
import traceback
import tty
from pathlib import Path
from typing import Any, NoReturn

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME = 2, 4, 8, 1024
MNT_DETACH = 2
SYS_PIVOT_ROOT = 155  # x86_64, the only machine that a guest is built for
POWER_OFF = 0x4321FEDC
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
OPEN_FILES = 1 << 20
CHUNK = 1 << 16
OUT, ERR, CONTROL, REPORTS = "/dev/ttyS0", "/dev/ttyS1", "/dev/ttyS3", "/dev/ttyS4"

# (type, where, flags, options)
FILE_SYSTEMS = (
    ("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""),
    ("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""),
    ("devtmpfs", "/dev", MS_NOSUID, ""),
    ("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666"),
    ("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, ""),
    ("mqueue", "/dev/mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""),
    ("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755"),
    ("cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, "nsdelegate"),
    ("bpf", "/sys/fs/bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=700"),
)

libc = ctypes.CDLL(None, use_errno=True)


def main() -> NoReturn:
    """Do all of it; then the guest is off."""
    orders = json.loads(Path(__file__).with_name("orders.json").read_text())
    modules = {path.name: path.read_bytes() for path in Path(orders["modules"]).iterdir()}
    own_root()
    control = os.open(CONTROL, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(control)
    try:
        furnish(orders, modules)
        say(control, "ready")
        code = run(orders, control)
        for folder in orders["writable"]:
            flush(folder)
        say(control, f"exit {code}")
    except OSError as error:
        traceback.print_exc()
        say(control, f"failed {error}")
    libc.reboot(POWER_OFF)
    raise SystemExit("the guest did not go off")


def own_root() -> None:
    """Put an overlay over the host's files: all of it can be written, nothing of it is kept."""
    mount("tmpfs", "tmpfs", "/mnt", 0, "mode=755")
    for name in ("upper", "work", "root"):
        os.mkdir(f"/mnt/{name}")  # noqa: PTH102 - paths here are the kernel's business
    mount("overlay", "overlay", "/mnt/root", 0, "lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work")
    if libc.syscall(SYS_PIVOT_ROOT, b"/mnt/root", b"/mnt/root/mnt"):
        raise failure("pivot_root")
    os.chdir("/")
    if libc.umount2(b"/mnt", MNT_DETACH):
        raise failure("umount /mnt")
    for kind, where, flags, options in FILE_SYSTEMS:
        os.makedirs(where, exist_ok=True)  # noqa: PTH103
        mount(kind, kind, where, flags, options)


def furnish(orders: dict[str, Any], modules: dict[str, bytes]) -> None:
    """Control groups, the list of what the kernel has built in, folders, lo."""
    own_group = Path("/sys/fs/cgroup/init")
    own_group.mkdir()
    (own_group / "cgroup.procs").write_text("1")
    for name in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split():
        Path("/sys/fs/cgroup/cgroup.subtree_control").write_text(f"+{name}")
    # kube-proxy takes IPVS for absent unless `modprobe ip_vs` succeeds in its container.
    folder = Path("/lib/modules", os.uname().release)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in modules.items():
        (folder / name).write_bytes(content)
    for name in orders["hidden"]:
        os.makedirs(name, exist_ok=True)  # noqa: PTH103
        mount("tmpfs", "tmpfs", name, 0, "mode=755")
    for name in orders["writable"]:
        os.makedirs(name, exist_ok=True)  # noqa: PTH103
        mount("none", "hostfs", name, 0, name)
    os.makedirs(orders["data"], exist_ok=True)  # noqa: PTH103
    mount("/dev/ubda", "ext4", orders["data"], MS_NOATIME, "nobarrier")
    socket.sethostname(orders["hostname"])
    bring_up("lo")


def run(orders: dict[str, Any], control: int) -> int:
    """Run the command and pass its output and signals on; gives its exit code."""
    ends, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    lines = [OUT, ERR, *([REPORTS] if orders["reports"] else [])]
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in lines]
    pid = os.fork()
    if pid == 0:
        become(orders, [into for _, into in pipes])
    for _, into in pipes:
        os.close(into)
    copying = [Copying(source, line) for (source, _), line in zip(pipes, lines, strict=True)]
    for each in copying:
        each.start()
    code = wait(pid, ends, control, copying)
    for each in copying:
        each.finish()
    return code


class Copying(threading.Thread):
    """Copies what the command prints to a serial line.

    Args:
        source: the end of a pipe.
        line: the device.
    """

    def __init__(self, source: int, line: str) -> None:
        super().__init__()
        self.source = source
        self.target = os.open(line, os.O_WRONLY | os.O_NOCTTY)
        tty.setraw(self.target)
        self.unread = False
        self.over, self.ended = os.pipe2(os.O_CLOEXEC)

    def run(self) -> None:
        """Copy until the source ends, or has nothing more once the command has ended."""
        poll = select.poll()
        poll.register(self.source, select.POLLIN)
        poll.register(self.over, select.POLLIN)
        while not self.unread:
            ready = [number for number, _ in poll.poll()]
            # What the command left running in the background may hold its output open for ever.
            if self.source not in ready or not (data := os.read(self.source, CHUNK)):
                break
            write(self.target, data)
        # Whoever still writes there sees a broken pipe.
        os.close(self.source)
        termios.tcdrain(self.target)

    def stop_reading(self) -> None:
        """Nobody reads on the host any more."""
        self.unread = True
        self.finish(wait=False)

    def finish(self, *, wait: bool = True) -> None:
        """The command has ended: copy what is left."""
        if self.ended >= 0:
            os.close(self.ended)
            self.ended = -1
        if wait:
            self.join()


def become(orders: dict[str, Any], streams: list[int]) -> NoReturn:
    """Be the command, with these streams as its descriptors from 1 on."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
        # Out of the way of where they are to go.
        away = [os.dup2(stream, 100 + number) for number, stream in enumerate(streams)]
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        for number, stream in enumerate(away, 1):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(orders["cwd"])
        os.execvpe(orders["command"][0], orders["command"], orders["env"])
    except OSError as error:
        os.write(2, f"servicelab: {orders['command'][0]}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def wait(pid: int, ends: int, control: int, copying: list[Copying]) -> int:
    """Wait for the command; signals from outside go to its process group."""
    poll = select.poll()
    poll.register(ends, select.POLLIN)
    poll.register(control, select.POLLIN)
    told = b""
    while True:
        ready = [number for number, _ in poll.poll()]
        if control in ready:
            *lines, told = (told + os.read(control, CHUNK)).split(b"\n")
            for line in lines:
                word, _, number = line.partition(b" ")
                if word == b"unread":
                    copying[int(number)].stop_reading()
                else:
                    send(pid, int(number))
        if ends in ready:
            os.read(ends, CHUNK)
            # Orphans too are ours to bury.
            while (found := bury()) is not None:
                if found[0] == pid:
                    code = os.waitstatus_to_exitcode(found[1])
                    return code if code >= 0 else 128 - code


def send(group: int, number: int) -> None:
    """Send a signal to a process group, if there still is one."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def bury() -> tuple[int, int] | None:
    """A process that has ended and its status; None if none has."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def write(target: int, data: bytes) -> None:
    """Write all of it."""
    while data:
        data = data[os.write(target, data) :]


def say(control: int, text: str) -> None:
    """Tell the host; it has been sent when this returns."""
    write(control, f"{' '.join(text.split())}\n".encode())
    termios.tcdrain(control)


def flush(folder: str) -> None:
    """Bring a folder's files to the host."""
    handle = os.open(folder, os.O_RDONLY)
    if libc.syncfs(handle):
        raise failure(f"syncfs {folder}")
    os.close(handle)


def mount(source: str, kind: str, where: str, flags: int, options: str) -> None:
    """Mount a file system."""
    if libc.mount(
        source.encode(), os.fsencode(where), kind.encode(), flags, os.fsencode(options) or None
    ):
        raise failure(f"mount {kind} on {where}")


def bring_up(interface: str) -> None:
    """Set a network interface up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sH14x", interface.encode(), 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(handle, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(
            handle, SIOCSIFFLAGS, struct.pack("16sH14x", interface.encode(), flags | IFF_UP)
        )


def failure(what: str) -> OSError:
    """What the C library's last call failed of."""
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    print(f"init: Python {sys.version.split()[0]}", flush=True)
    main()
