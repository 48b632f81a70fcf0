"""The guest's first process: gives it a root of its own, runs one command, says how it ended.

It runs inside the guest by `python -IS`, so it uses nothing but the standard library. What it does
is in `orders.json` beside it, as `servicelab.vm.orders` writes it. It talks over serial lines:

- ttyS0 and ttyS1 carry the command's stdout and stderr out,
- ttyS2 is the console,
- ttyS3 brings `signal NUMBER`, and carries `ready`, `exit CODE` or `failed SENTENCE` out,
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
    over, ended = os.pipe2(os.O_CLOEXEC)
    copying = []
    for line, (source, into) in zip(lines, pipes, strict=True):
        os.close(into)
        copying.append(threading.Thread(target=copy, args=(source, line, over)))
        copying[-1].start()
    code = wait(pid, ends, control)
    # What it left running in the background may hold its output open for ever.
    os.close(ended)
    for thread in copying:
        thread.join()
    return code


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


def wait(pid: int, ends: int, control: int) -> int:
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
                try:
                    os.killpg(pid, int(line.removeprefix(b"signal ")))
                except ProcessLookupError:
                    continue
        if ends in ready:
            os.read(ends, CHUNK)
            # Orphans too are ours to bury.
            while (found := bury()) is not None:
                if found[0] == pid:
                    code = os.waitstatus_to_exitcode(found[1])
                    return code if code >= 0 else 128 - code


def bury() -> tuple[int, int] | None:
    """A process that has ended and its status; None if none has."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def copy(source: int, line: str, over: int) -> None:
    """Copy to a serial line until the source ends, or has nothing more once `over` is closed."""
    target = os.open(line, os.O_WRONLY | os.O_NOCTTY)
    tty.setraw(target)
    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.register(over, select.POLLIN)
    while source in (ready := [number for number, _ in poll.poll()]) or over not in ready:
        if not (data := os.read(source, CHUNK)):
            break
        write(target, data)
    termios.tcdrain(target)


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
