"""Building steps: whole or not at all, one build at a time, and what failures say."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from servicelab.bundle import builder
from servicelab.bundle.bench import Bench, end
from servicelab.bundle.builder import ensure_built, prune, sweep
from servicelab.bundle.listing import list_images
from servicelab.bundle.steps import Step, bundle_root, make_step
from servicelab.errors import InfrastructureError
from servicelab.progress import Progress
from servicelab.verdict.deadlines import Deadline
from servicelab.verdict.waiting import eventually

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and the right to build."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path / "cache"


def writes(bench: Bench) -> None:
    """Build a file, and leave something in the scratch folder."""
    (bench.scratch / "rubbish").write_text("x")
    (bench.folder / "result").write_text(bench.step.name)


def step(name: str, build: object = writes, *needs: Step, fact: int = 0, disk: int = 1) -> Step:
    """A step."""
    return make_step(name, build, facts={"fact": fact}, needs=needs, disk=disk)  # type: ignore[arg-type]


def test_a_result_stands_alone_in_its_folder() -> None:
    """What was built is there under its key; what was needed on the way is gone."""
    thing = step("thing")

    ensure_built([thing], Progress(quiet=True))

    assert (thing.folder / "result").read_text() == "thing"
    assert {path.name for path in bundle_root().iterdir()} == {thing.folder.name, "lock", "logs"}


def test_a_second_build_builds_nothing() -> None:
    """What is there is found without a line of progress."""
    thing = step("thing")
    ensure_built([thing], Progress(quiet=True))
    stream = io.StringIO()

    ensure_built([thing], Progress(stream=stream))

    assert stream.getvalue() == ""


def test_a_failed_command_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the step, the command, its last lines, the log and what to do."""

    def fails(bench: Bench) -> None:
        bench.run("sh", "-c", "echo first; echo the reason >&2; exit 7")

    with pytest.raises(InfrastructureError) as caught:
        ensure_built([step("kubelet", fails)], Progress(quiet=True))

    message = str(caught.value)
    assert "kubelet could not be built" in message
    assert "exit code 7" in message
    assert "the reason" in message
    assert str(bundle_root() / "logs" / "kubelet.log") in message
    assert "run the same command again" in message
    assert "the reason" in (bundle_root() / "logs" / "kubelet.log").read_text()


def test_after_a_failure_the_rest_goes_on() -> None:
    """Steps that were done stay done; the next try starts with the one that failed."""
    broken = [True]
    built: list[str] = []

    def sometimes(bench: Bench) -> None:
        built.append(bench.step.name)
        if bench.step.name == "second" and broken:
            raise InfrastructureError("no")
        writes(bench)

    first = step("first", sometimes)
    second = step("second", sometimes, first)
    with pytest.raises(InfrastructureError):
        ensure_built([second], Progress(quiet=True))
    assert not second.is_built
    broken.clear()

    ensure_built([second], Progress(quiet=True))

    assert built == ["first", "second", "second"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_leaves_nothing_half_made(interruption: type[BaseException]) -> None:
    """Ctrl-C in the middle of a step leaves neither a result nor its temporary folder."""

    def interrupted(bench: Bench) -> None:
        writes(bench)
        raise interruption

    thing = step("thing", interrupted)
    with pytest.raises(interruption):
        ensure_built([thing], Progress(quiet=True))

    assert not thing.is_built
    assert not list(bundle_root().glob("*.partial"))


def test_what_a_killed_build_left_is_swept() -> None:
    """A process that could not clean up leaves a folder that the next build removes."""
    left = bundle_root() / "node-0123456789ab.partial"
    (left / "result").mkdir(parents=True)

    ensure_built([step("thing")], Progress(quiet=True))

    assert not left.exists()


def test_nothing_is_deleted_through_a_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    """A left folder with something mounted in it is refused, with the way out."""
    left = bundle_root() / "node-0123456789ab.partial"
    (left / "proc").mkdir(parents=True)
    line = f"1 2 0:3 / {left}/proc rw - proc proc rw"
    monkeypatch.setattr(Path, "read_text", lambda self: line)

    with pytest.raises(InfrastructureError, match="umount"):
        sweep()

    assert (left / "proc").exists()


def test_a_full_disk_is_one_sentence() -> None:
    """ENOSPC in a step names the folder and the way out, and leaves nothing."""

    def fills(bench: Bench) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InfrastructureError, match=r"the disk that holds .* is full; free some"):
        ensure_built([step("thing", fills)], Progress(quiet=True))

    assert not list(bundle_root().glob("*.partial"))


def test_a_command_that_finds_the_disk_full_is_the_same_sentence() -> None:
    """So is a program's own message about it."""

    def fills(bench: Bench) -> None:
        bench.run("sh", "-c", "echo 'write: No space left on device'; exit 1")

    with pytest.raises(InfrastructureError, match=r"the disk that holds .* is full; free some"):
        ensure_built([step("thing", fills)], Progress(quiet=True))


def test_too_little_space_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The need, what there is and where are named, and nothing is built."""
    monkeypatch.setattr(builder.shutil, "disk_usage", lambda path: Usage(0, 0, 1 << 30))
    thing = step("thing", disk=8 * 1024)

    with pytest.raises(InfrastructureError, match=r"about 8\.0 GiB.*bundle has 1\.0 GiB left"):
        ensure_built([thing], Progress(quiet=True))

    assert not thing.is_built


def test_only_root_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user is told the two ways there are."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(InfrastructureError, match="images load"):
        ensure_built([step("thing")], Progress(quiet=True))


def test_a_second_build_at_once_waits_and_says_so() -> None:
    """It says that it waits, and builds nothing that the first has built meanwhile."""
    thing = step("thing")
    stream = io.StringIO()
    bundle_root().mkdir(parents=True)
    lock = FileLock(bundle_root() / "lock")
    lock.acquire()
    second = threading.Thread(target=lambda: ensure_built([thing], Progress(stream=stream)))
    second.start()
    try:
        second.join(0.3)
        assert "waiting for it" in stream.getvalue()
        assert not thing.is_built
        thing.folder.mkdir()
    finally:
        lock.release()
    second.join(10)

    assert not second.is_alive()
    assert not (thing.folder / "result").exists()


def test_old_results_go_but_for_the_newest() -> None:
    """The cache keeps a step's current result and the one before."""
    versions = [step("thing", fact=number) for number in range(4)]
    for number, version in enumerate(versions):
        version.folder.mkdir(parents=True)
        os.utime(version.folder, (number, number))
    neighbour = step("thing-two")
    neighbour.folder.mkdir()

    prune([versions[3]])

    kept = [version.is_built for version in versions]
    assert kept == [False, False, True, True]
    assert neighbour.is_built


def test_a_command_ends_with_the_build() -> None:
    """What a step had started when it was interrupted is ended."""
    started: list[subprocess.Popen[bytes]] = []

    def interrupted(bench: Bench) -> None:
        started.append(bench.start("sleep", "600", output=subprocess.DEVNULL))
        end(started[0])
        writes(bench)

    ensure_built([step("thing", interrupted)], Progress(quiet=True))

    assert started[0].returncode == -signal.SIGKILL


def test_a_command_ends_with_a_killed_build() -> None:
    """No compiler goes on after kill -9 of the process that started it."""
    program = (
        "import os, signal; from pathlib import Path; import subprocess as s\n"
        "from servicelab.bundle.bench import Bench\n"
        "b = Bench(None, *[Path('/tmp')] * 3)\n"
        # It says so itself once it runs: before that, the leash may not have been put on.
        "there, here = os.pipe()\n"
        "child = b.start('sh', '-c', 'echo runs; exec sleep 600', output=here)\n"
        "os.read(there, 4)\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    pid = int(done.stdout)
    eventually(
        lambda: psutil.pid_exists(pid) and psutil.Process(pid).status(),
        lambda status: status in (False, psutil.STATUS_ZOMBIE),
        deadline=Deadline("killed", 5),
        expecting="the command should be gone",
    )


def test_what_the_cache_holds_is_listed() -> None:
    """Each result has a name, a key, its size and when it was built."""
    thing = step("thing")
    ensure_built([thing], Progress(quiet=True))

    (entry,) = list_images()

    assert (entry.name, entry.key) == ("thing", thing.key)
    # What it takes on the disk: whole blocks, which a file system may also keep in the inode.
    assert entry.size % 512 == 0
    assert entry.size < 65536
    assert entry.to_dict()["built"] == pytest.approx(thing.folder.stat().st_mtime)
    assert thing.key in str(entry)
