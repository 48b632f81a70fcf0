"""The private engine on this machine: started, killed, guarded, and stopped without a trace.

It gets a network namespace, state and data of its own, so it disturbs neither a Docker that is
there nor servicelab's own engine; only the unpacked programs are shared with the user's cache.
"""

from __future__ import annotations

import ctypes
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from servicelab.engine import (
    Engine,
    ensure_engine,
    find_engine,
    start_private,
    stop_if_unused,
    stop_private,
)
from servicelab.engine.layout import layout
from servicelab.engine.leftovers import container_ids, mounts_below, processes_below
from servicelab.engine.packages import Programs, ensure_programs, programs_folder
from servicelab.engine.state import EngineState, read_state
from servicelab.errors import InfrastructureError
from servicelab.progress import Progress
from servicelab.verdict import deadlines, eventually

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.geteuid() != 0, reason="the private engine needs root"),
]

QUIET = Progress(quiet=True)
IMAGE = "servicelab.local/hosts-programs:1"
# With these it runs the machine's own programs.
HOSTS_PROGRAMS = [f"--volume={path}:{path}:ro" for path in ("/usr", "/bin", "/lib", "/lib64")]
# Reserved for documentation (RFC 5737): nobody is there.
OUTSIDE = "203.0.113.7"
CLONE_NEWNET = 0x40000000


@pytest.fixture(scope="module")
def programs() -> Programs:
    """The engine's programs, in the user's cache."""
    return ensure_programs(QUIET)


@pytest.fixture
def own_network(programs: Programs) -> Iterator[None]:
    """A network namespace for the test, with an uplink to nobody and a default route over it."""
    libc = ctypes.CDLL(None, use_errno=True)
    outer = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        for command in (
            "link set lo up",
            "link add uplink type veth peer name nobody",
            # Link-local addresses would come and change the routes a moment later.
            "link set uplink addrgenmode none",
            "link set nobody addrgenmode none",
            "address add 192.0.2.2/24 dev uplink",
            "link set uplink up",
            "link set nobody up",
            "route add default via 192.0.2.1",
        ):
            assert programs.run("ip", *command.split()).returncode == 0, command
        yield
    finally:
        assert libc.setns(outer, CLONE_NEWNET) == 0
        os.close(outer)


@pytest.fixture
def own_cache(
    programs: Programs, own_network: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Path]:
    """A cache folder that holds the programs and nothing else; no engine is left in it."""
    # A client on PATH would lead to another engine.
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    link_cache(programs, monkeypatch, tmp_path / "cache")
    yield tmp_path / "cache"
    stop_private(force=True)


def link_cache(programs: Programs, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make this the cache folder, with the programs in it."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(folder))
    programs_folder().parent.mkdir(parents=True)
    programs_folder().symlink_to(programs.root.parent)


@pytest.fixture
def before(programs: Programs, own_cache: Path) -> dict[str, str]:
    """What the host's network looks like before the test."""
    # The first look at iptables makes its empty tables.
    host_facts(programs)
    return host_facts(programs)


def host_facts(programs: Programs) -> dict[str, str]:
    """Routes, rules, links and settings, as text to compare."""
    return {
        "routes": programs.run("ip", "route", "show", "table", "all").stdout,
        "rules": programs.run("ip", "rule").stdout,
        "links": programs.run("ip", "-brief", "link").stdout,
        "iptables": programs.run("iptables", "-S").stdout,
        "nat": programs.run("iptables", "-t", "nat", "-S").stdout,
        "ip6tables": programs.run("ip6tables", "-S").stdout,
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


def assert_nothing_left(programs: Programs, before: dict[str, str]) -> None:
    """The host is as before: network, processes, mounts, control groups, files."""
    assert host_facts(programs) == before
    assert processes_below(layout().run) == []
    assert mounts_below([layout().run, layout().data]) == []
    groups = {path.name for path in Path("/sys/fs/cgroup").glob("*/docker/*")}
    assert not groups & container_ids(layout().data / "containers")
    assert not layout().run.exists()
    assert not layout().state.exists()


def run_program(engine: Engine, *options: str, program: str = "/bin/sleep 600") -> str:
    """Run one of the machine's programs in a container; its id."""
    if not engine.docker("images", "-q", IMAGE):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("empty"))
        engine.docker("import", "-", IMAGE, input=packed.getvalue())
    return engine.docker("run", "-d", *HOSTS_PROGRAMS, *options, IMAGE, *program.split()).strip()


@pytest.fixture
def engine(own_cache: Path, before: dict[str, str]) -> Engine:
    """A private engine of the test's own, as a run starts it."""
    return ensure_engine(QUIET)


def state() -> EngineState:
    """What is written about the test's engine."""
    found = read_state(layout().state)
    assert found is not None
    return found


def dockerd() -> psutil.Process:
    """The daemon of the test's engine."""
    identity = state().dockerd
    assert identity is not None
    return psutil.Process(identity.pid)


def kill(*processes: psutil.Process) -> None:
    """kill -9, and wait until they are gone."""
    for process in processes:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(processes, timeout=10)


def inside(engine: Engine, container: str, code: str) -> str:
    """Run Python in a container's network, and return what it prints."""
    pid = engine.docker("inspect", "-f", "{{.State.Pid}}", container).strip()
    done = subprocess.run(
        ["nsenter", "--target", pid, "--net", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


CONNECT = """
import socket
try:
    socket.create_connection(({address!r}, {port}), timeout=3).close()
    print("connected")
except OSError as error:
    print(type(error).__name__, error)
"""


def test_stop_leaves_the_host_as_it_was(
    engine: Engine, programs: Programs, before: dict[str, str]
) -> None:
    """With a network and a container in it, a stop takes away all that the start brought."""
    engine.docker("network", "create", "web")
    run_program(engine, "--network=web", "--publish=127.0.0.1::80")
    assert host_facts(programs) != before

    assert stop_private(force=True)

    assert_nothing_left(programs, before)


def test_starting_and_stopping_twice_is_no_error(engine: Engine) -> None:
    """The second start finds the first one's engine, the second stop has nothing to do."""
    first = dockerd().pid
    start_private(QUIET)

    assert dockerd().pid == first
    assert stop_private()
    assert not stop_private()
    assert find_engine() is None


def test_two_starts_at_once_yield_one_engine(own_cache: Path) -> None:
    """Two commands that both need an engine end up with the same."""
    code = (
        "from servicelab.engine import ensure_engine; from servicelab.progress import Progress; "
        "from servicelab.engine.layout import layout; ensure_engine(Progress(quiet=True)); "
        "print(layout().pid_file.read_text())"
    )

    def start(_: int) -> str:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(start, range(2))

    assert first == second == str(dockerd().pid)


def test_ctrl_c_does_not_reach_the_engine(engine: Engine) -> None:
    """It has a session of its own: a terminal's signals go elsewhere."""
    assert os.getsid(dockerd().pid) == dockerd().pid != os.getsid(0)


def test_an_interrupted_start_leaves_nothing(
    programs: Programs, own_cache: Path, before: dict[str, str]
) -> None:
    """Ctrl-C while the daemon comes up ends it, and undoes what was changed for it."""
    code = (
        "from servicelab.engine import ensure_engine; from servicelab.progress import Progress; "
        "ensure_engine(Progress(quiet=True))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    eventually(
        lambda: read_state(layout().state),
        lambda seen: seen is not None and seen.is_alive,
        deadline=deadlines.current().engine_started,
        expecting="the daemon should be on its way",
        every=0.01,
    )
    process.send_signal(signal.SIGINT)

    _, said = process.communicate(timeout=60)

    assert b"KeyboardInterrupt" in said
    assert_nothing_left(programs, before)


def test_privileged_containers_run(engine: Engine) -> None:
    """Nodes are privileged; that must work where CAP_SYS_RESOURCE is missing, too."""
    container = run_program(engine, "--privileged", "--network=none")

    assert engine.docker("inspect", "-f", "{{.State.Running}}", container).strip() == "true"


@pytest.mark.parametrize("everything", [False, True], ids=["dockerd", "dockerd-and-containerd"])
def test_a_killed_engine_is_swept_by_the_next_start(
    engine: Engine, programs: Programs, before: dict[str, str], everything: bool
) -> None:
    """kill -9 leaves a pid file, shims, mounts and a container; a start copes with all."""
    container = run_program(engine, "--privileged", "--network=none")
    orphan = psutil.Process(int(engine.docker("inspect", "-f", "{{.State.Pid}}", container)))
    daemon = dockerd()
    kill(*(daemon.children() if everything else []), daemon)
    assert find_engine() is None

    again = ensure_engine(QUIET)

    assert dockerd().pid != daemon.pid
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert IMAGE.partition(":")[0] in again.docker("images")
    assert stop_private(force=True)
    assert_nothing_left(programs, before)


def test_a_stop_after_a_kill_cleans_up(
    engine: Engine, programs: Programs, before: dict[str, str]
) -> None:
    """Nobody has to start a dead engine to get rid of what it left."""
    engine.docker("network", "create", "web")
    run_program(engine, "--privileged", "--network=web")
    kill(*dockerd().children(), dockerd())

    assert stop_private()

    assert_nothing_left(programs, before)


def test_no_packet_leaves_the_engines_networks(engine: Engine, programs: Programs) -> None:
    """From a container the outside, Services and Pods are refused; its own network is not."""
    engine.docker("network", "create", "web")
    asking, asked = (run_program(engine, "--network=web") for _ in range(2))
    address = engine.docker(
        "inspect", "-f", "{{.NetworkSettings.Networks.web.IPAddress}}", asked
    ).strip()
    assert address in engine.docker("network", "inspect", "web")

    # The rejection is an ICMP message, of which the kernel sends but a few at once.
    assert "No route to host" in inside(engine, asking, CONNECT.format(address=OUTSIDE, port=80))
    assert "No route to host" in inside(
        engine, asking, CONNECT.format(address="10.96.0.10", port=53)
    )
    # Nothing listens, but the packet arrived.
    refused = inside(engine, asking, CONNECT.format(address=address, port=80))
    assert "ConnectionRefusedError" in refused
    for guarded in ("10.96.0.1", "10.111.0.1", "10.244.1.1"):
        assert programs.run("ip", "route", "get", guarded).returncode != 0


def test_the_guard_survives_a_restart(engine: Engine, programs: Programs) -> None:
    """A network that dockerd restores is guarded as one that it makes."""
    engine.docker("network", "create", "web")
    kill(*dockerd().children(), dockerd())
    again = ensure_engine(QUIET)
    asking = run_program(again, "--network=web")

    assert "No route to host" in inside(again, asking, CONNECT.format(address=OUTSIDE, port=80))


def test_a_foreign_name_fails_at_once(engine: Engine) -> None:
    """A container waits for no name server: 20 questions are refused within two seconds."""
    engine.docker("network", "create", "web")
    asking = run_program(engine, "--network=web")
    code = """
import dns.message, dns.query, dns.rcode, time
began = time.monotonic()
for number in range(20):
    question = dns.message.make_query(f"host{number}.example.com", "A")
    answer = dns.query.udp(question, "127.0.0.11", timeout=10)
print(dns.rcode.to_text(answer.rcode()), time.monotonic() - began < 2)
"""

    assert inside(engine, asking, code) == "SERVFAIL True"


def test_a_stop_refuses_while_containers_run(engine: Engine) -> None:
    """Clusters are not taken away by accident; the error names them."""
    run_program(engine, "--name=busy", "--network=none")

    with pytest.raises(InfrastructureError, match="still runs 1 containers: busy"):
        stop_private()

    assert find_engine() is not None


def test_the_last_run_out_stops_its_engine(engine: Engine) -> None:
    """A run's engine goes with it; one that the user started stays."""
    start_private(QUIET, started_by="user")
    assert not stop_if_unused(engine)
    assert find_engine() is not None

    stop_private()
    mine = ensure_engine(QUIET)
    assert stop_if_unused(mine)
    assert find_engine() is None


def test_a_container_keeps_the_engine(engine: Engine) -> None:
    """A kept cluster's engine is not stopped under it."""
    run_program(engine, "--network=none", program="/bin/true")

    assert not stop_if_unused(engine)
    assert find_engine() is not None


def test_no_engine_is_started_beside_another(
    engine: Engine, programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A second daemon would empty the first one's chains: it is refused, and nothing changes."""
    facts = host_facts(programs)
    running = dockerd().pid
    with monkeypatch.context() as second:
        link_cache(programs, second, tmp_path / "second")
        with pytest.raises(InfrastructureError, match=f"process {running}"):
            start_private(QUIET)

    assert host_facts(programs) == facts


def test_a_long_cache_path_still_gets_a_socket(
    programs: Programs, own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the socket's path would be too long, it lies below /run."""
    link_cache(programs, monkeypatch, tmp_path / ("long" * 10))
    try:
        ensure_engine(QUIET)
        assert layout().run.parent == Path("/run")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(layout().socket))
    finally:
        stop_private(force=True)
    assert not layout().run.exists()


def test_a_daemon_that_cannot_start_says_why_and_leaves_nothing(
    programs: Programs, own_cache: Path, before: dict[str, str]
) -> None:
    """The error has dockerd's last words, and the host is as before."""
    where = layout()
    where.data.mkdir(parents=True)
    # A file where dockerd wants its folder.
    (where.data / "containers").write_text("")

    with pytest.raises(InfrastructureError, match=r"did not start: .*containers") as caught:
        ensure_engine(QUIET)

    assert str(where.log) in caught.value.remedy
    (where.data / "containers").unlink()
    assert_nothing_left(programs, before)
