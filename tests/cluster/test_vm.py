"""Commands in a guest on this machine: passed through whole, and nothing left behind."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from servicelab.verdict import deadlines, eventually
from servicelab.vm.guest import MEMORY_FOLDER, PREFIX
from servicelab.vm.parts import guest_steps
from servicelab.vm.record import live_records, records_root

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.geteuid() != 0, reason="a guest needs root"),
    pytest.mark.skipif(
        not all(step.is_built for step in guest_steps()),
        reason="the guest is not built: servicelab vm build",
    ),
]

#: What an empty command may take in all, seconds; 1 to 3 on an idle machine with two cores.
QUICK = 15.0


def vm_run(*words: str) -> list[str]:
    return [sys.executable, "-m", "servicelab", "vm", "run", *words]


def python(program: str) -> tuple[str, ...]:
    """A Python program as the guest's command."""
    return ("--", sys.executable, "-c", program)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder of the test's own; in the end there is no guest more than before."""
    before = _guests()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert _guests() == before


def _guests() -> set[str]:
    """Folders and records of guests."""
    folders = {path.name for path in MEMORY_FOLDER.glob(f"{PREFIX}*")}
    return folders | {path.name for path in records_root().glob("*.json")}


def test_streams_and_exit_code_come_through_apart(folder: Path) -> None:
    """And neither is a terminal; the command runs where it was started."""
    program = (
        "import os, sys; print(os.getcwd(), sys.stdout.isatty(), 'é');"
        "print('to stderr', file=sys.stderr); sys.exit(7)"
    )

    began = time.monotonic()
    done = subprocess.run(vm_run(*python(program)), capture_output=True, text=True, check=False)
    took = time.monotonic() - began

    assert (done.stdout, done.stderr) == (f"{folder} False é\n", "to stderr\n")
    assert done.returncode == 7
    assert took < QUICK
    assert not list(folder.iterdir())


def test_its_kernel_has_ip_vs_and_says_so_to_modprobe() -> None:
    """kube-proxy asks both; there is no network but lo."""
    program = (
        "import os, subprocess;"
        "print(open('/proc/net/ip_vs').readline().split(' (')[0]);"
        "print(*sorted(os.listdir('/sys/class/net')));"
        "print('ip_vs_rr.ko' in open(f'/lib/modules/{os.uname().release}/modules.builtin').read());"
        "print(*(line.split()[-1] for line in open('/proc/cpuinfo') if 'cpu MHz' in line))"
    )

    done = subprocess.run(vm_run(*python(program)), capture_output=True, text=True, check=True)

    version, networks, builtin, megahertz = done.stdout.splitlines()
    assert version == "IP Virtual Server version 1.2.1"
    assert networks == "lo"
    assert builtin == "True"
    assert float(megahertz) > 0


def test_much_output_arrives_whole() -> None:
    """4 MB on both streams at once, of every byte."""
    program = (
        "import os, threading; data = bytes(range(256)) * 16384;"
        "send = lambda n: [os.write(n, data[i:i + 65536]) for i in range(0, len(data), 65536)];"
        "t = threading.Thread(target=send, args=(2,)); t.start(); send(1); t.join()"
    )

    done = subprocess.run(vm_run(*python(program)), capture_output=True, check=True)

    wanted = hashlib.sha256(bytes(range(256)) * 16384).hexdigest()
    assert hashlib.sha256(done.stdout).hexdigest() == wanted
    assert hashlib.sha256(done.stderr).hexdigest() == wanted


def test_only_what_is_named_is_kept(folder: Path) -> None:
    """Results of runs, and --rw's folders, blanks and all; the rest is thrown away."""
    (folder / "with blank").mkdir()
    program = (
        "from pathlib import Path;"
        "Path('.servicelab/runs').mkdir(parents=True);"
        "Path('.servicelab/runs/latest').symlink_to('x');"
        "Path('with blank/a:b').write_text('kept');"
        "Path('lost').write_text('lost'); Path('/etc/lost').write_text('lost');"
        "print(Path('lost').read_text())"
    )

    command = vm_run("--rw", "with blank", *python(program))
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout == "lost\n"
    assert (folder / "with blank/a:b").read_text() == "kept"
    assert (folder / ".servicelab/runs/latest").readlink() == Path("x")
    assert not (folder / "lost").exists()
    assert not Path("/etc/lost").exists()


def test_a_program_that_is_not_there_ends_as_in_a_shell() -> None:
    """With 127, and a word on stderr."""
    done = subprocess.run(
        vm_run("--", "no-such-program"), capture_output=True, text=True, check=False
    )

    assert done.returncode == 127
    assert done.stderr == "servicelab: no-such-program: No such file or directory\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_command(number: signal.Signals) -> None:
    """It may clean up, and its exit code counts."""
    program = (
        "import signal, sys\n"
        "def end(n, frame):\n    print('got', n, flush=True); sys.exit(5)\n"
        f"signal.signal({number.value}, end); print('ready', flush=True); signal.pause()"
    )
    with subprocess.Popen(vm_run(*python(program)), stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout
        assert runner.stdout.readline() == "ready\n"
        runner.send_signal(number)

        assert runner.stdout.read() == f"got {number.value}\n"
        assert runner.wait(QUICK) == 5


def test_a_killed_runner_takes_its_guest_along() -> None:
    """And what it could not remove is removed at the next start."""
    program = "import time; print('ready', flush=True); time.sleep(600)"
    with subprocess.Popen(vm_run(*python(program)), stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout
        assert runner.stdout.readline() == "ready\n"
        (record,) = [each for each in live_records() if each.runner.pid == runner.pid]
        assert record.guest
        kernel = psutil.Process(record.guest.pid)
        tree = [kernel, *kernel.children(recursive=True)]
        runner.kill()
        runner.wait()

    eventually(
        lambda: [process.pid for process in tree if process.is_running()],
        lambda pids: not pids,
        deadline=deadlines.current().guest_stopped,
        expecting="the guest's processes should be gone",
    )
    assert record.folder.exists()
    subprocess.run(vm_run("--", "true"), check=True)
    assert not record.folder.exists()


def test_a_reader_that_goes_away_ends_the_command() -> None:
    """As with a pipe on this machine: it is broken."""
    program = (
        "import sys\n"
        "try:\n    while True: print('y' * 99)\n"
        "except BrokenPipeError:\n    sys.stderr.close(); import os; os._exit(6)"
    )
    with subprocess.Popen(
        vm_run(*python(program)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as runner:
        assert runner.stdout
        runner.stdout.readline()
        runner.stdout.close()

        assert runner.wait(QUICK) == 6


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor only")
def test_two_guests_run_side_by_side() -> None:
    """Each on a processor of its own."""
    program = (
        "import sys; print('ready', flush=True); sys.stdin.read(); __import__('time').sleep(3)"
    )
    command = vm_run("--memory", "1", *python(program))
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as one,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other,
    ):
        for runner in (one, other):
            assert runner.stdout
            assert runner.stdout.readline() == "ready\n"
        ours = [each for each in live_records() if each.runner.pid in {one.pid, other.pid}]
        assert len({each.processor for each in ours}) == 2
        for runner in (one, other):
            runner.terminate()
            runner.wait(QUICK)


#: Runs its arguments in two guests, and says how each ended and how many signals it was sent.
IN_TWO_GUESTS = """
import os, signal, sys
from servicelab.progress import Progress
from servicelab.vm.running import Errand, run_in_guests
from servicelab.vm.streams import own_sinks
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
errands = [Errand(sys.argv[1:], own_sinks(), os.environ) for _ in range(2)]
ended = run_in_guests(errands, memory=1, progress=Progress())
print(*(each.code for each in ended), *(min(len(each.signals), 3) for each in ended))
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor only")
@pytest.mark.parametrize(
    ("number", "ends"), [(signal.SIGTERM, "5 5 1 1\n"), (signal.SIGINT, "130 130 3 3\n")]
)
def test_guests_of_one_process_get_its_signals(number: signal.Signals, ends: str) -> None:
    """Each of them; commands that ignore Ctrl-C are ended when it comes for the third time."""
    ignoring = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "print('ready', flush=True)\nwhile True: signal.pause()"
    )
    command = [sys.executable, "-c", IN_TWO_GUESTS, sys.executable, "-c", ignoring]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        ours = [each for each in live_records() if each.runner.pid == process.pid]
        assert len({each.processor for each in ours}) == 2

        def ended() -> bool:
            if number == signal.SIGINT:
                process.send_signal(number)
            return process.poll() is not None

        process.send_signal(number)
        eventually(
            ended,
            lambda is_: is_,
            deadline=deadlines.current().guest_stopped,
            expecting="both guests to end",
            every=0.2,
        )
        assert process.stdout.read() == ends
