"""servicelab's own Docker Engine: started when there is no other, stopped without a trace."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network

# Every wait needs it, those of the cleaning too: an import that Ctrl-C cuts short can't be made up
# for in the same process.
import tenacity  # noqa: F401
from filelock import FileLock, Timeout

from servicelab.engine import guard, leftovers, users
from servicelab.engine.addresses import choose_pool, host_networks
from servicelab.engine.daemon import containerd_of, spawn, wait_until_it_answers
from servicelab.engine.engine import Engine
from servicelab.engine.layout import Layout, layout
from servicelab.engine.packages import Programs, ensure_programs, find_programs
from servicelab.engine.state import EngineState, StartedBy, read_state, write_state
from servicelab.errors import InfrastructureError
from servicelab.host import ProcessIdentity, process_identity
from servicelab.progress import Progress

# Longer than a first start with its downloads on a slow line.
LOCK_TIMEOUT_S = 1800.0
NOT_ROOT = "start it once as root (`servicelab engine start`), or install Docker and join its group"


def private_engine(where: Layout | None = None) -> Engine:
    """The private engine as seen by its clients, whether or not it runs."""
    where = where or layout()
    binary = where.bin / "docker"
    path = f"{where.bin}:{os.environ.get('PATH', '/usr/bin:/bin')}"
    # Its packages hold no buildx; a context chosen for another engine must not win.
    env = {**os.environ, "PATH": path, "DOCKER_HOST": where.host, "DOCKER_BUILDKIT": "0"}
    for foreign in ("DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        env.pop(foreign, None)
    return Engine("private", binary, where.host, env)


def find_private() -> Engine | None:
    """The private engine, if it runs and answers."""
    where = layout()
    state = read_state(where.state)
    if state is None or not state.is_alive:
        return None
    engine = private_engine(where)
    return engine if engine.answers() else None


def start_private(progress: Progress, *, started_by: StartedBy = "user") -> Engine:
    """Start the private engine, or find it running.

    Args:
        progress: where the steps are reported.
        started_by: "user" keeps it until it is stopped; "run" lets `stop_if_unused` stop it
            when this process and all others that asked for it are through.

    Raises:
        InfrastructureError: not root, no packages to be had, another Docker daemon runs, or
            dockerd does not start.
    """
    if os.geteuid() != 0:
        raise InfrastructureError("the private Docker Engine needs root", remedy=NOT_ROOT)
    where = layout()
    with locked(where):
        if started_by == "run":
            users.register(where.users)
        state = read_state(where.state)
        engine = private_engine(where)
        if state is not None and state.is_alive and engine.answers():
            if started_by == "user" and state.started_by == "run":
                write_state(where.state, state.owned_by_user())
            return engine
        programs = ensure_programs(progress)
        with progress.step("start the private Docker Engine"):
            if state is not None or where.run.exists():
                clear(where, programs, state)
            if (other := leftovers.other_dockerd()) is not None:
                raise InfrastructureError(
                    f"a Docker daemon that does not answer here already runs (process {other}), "
                    "and a private engine beside it would empty its iptables chains",
                    remedy="point DOCKER_HOST to its socket, or stop it",
                )
            _link_client(where, programs)
            try:
                _start(where, programs, started_by)
            except BaseException:
                clear(where, programs, read_state(where.state))
                raise
        return engine


def stop_private(*, force: bool = False) -> bool:
    """Stop the private engine and take away what it changed on the host.

    Args:
        force: stop it even if containers run in it.

    Returns:
        Whether there was anything to stop.

    Raises:
        InfrastructureError: containers run in it, or it can't be stopped.
    """
    where = layout()
    if not where.state.exists() and not where.run.exists():
        return False
    if os.geteuid() != 0:
        raise InfrastructureError(
            "the private Docker Engine can be stopped by root only", remedy="run this as root"
        )
    with locked(where):
        return _stop(where, force=force)


def stop_if_unused(engine: Engine) -> bool:
    """Stop the private engine if a run started it, and nobody needs it any more.

    That is: no container is left in it, and no other live process has asked for it.
    """
    where = layout()
    if engine.kind != "private" or os.geteuid() != 0:
        return False
    with locked(where):
        users.release(where.users)
        state = read_state(where.state)
        if state is None or state.started_by != "run" or users.live_users(where.users):
            return False
        if state.is_alive and engine.answers() and engine.docker("ps", "-aq").split():
            return False
        return _stop(where, force=True)


@contextlib.contextmanager
def locked(where: Layout) -> Iterator[None]:
    """Hold the lock that lets one process at a time start or stop the engine.

    Raises:
        InfrastructureError: another process held it for half an hour.
    """
    where.lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(where.lock, timeout=LOCK_TIMEOUT_S):
            yield
    except Timeout:
        raise InfrastructureError(
            f"another process has been starting or stopping the private engine for "
            f"{LOCK_TIMEOUT_S / 60:.0f} min",
            remedy=f"find it with: fuser -v {where.lock}",
        ) from None


def _start(where: Layout, programs: Programs, started_by: StartedBy) -> None:
    before = IPv4Network(where.pool.read_text()) if where.pool.exists() else None
    pool = choose_pool(host_networks(programs), preferred=before)
    if pool != before:
        # Networks of earlier clusters have addresses that the host uses now.
        shutil.rmtree(where.data / "network", ignore_errors=True)
        where.pool.write_text(str(pool))
    state = EngineState(str(pool), started_by, guard.survey(programs))
    # Written before the first change, so that a crash in between can be undone.
    write_state(where.state, state)
    guard.apply_guard(programs, pool, state.changes)
    where.exec_root.mkdir(parents=True, exist_ok=True)
    where.data.mkdir(parents=True, exist_ok=True)
    process = spawn(where, programs, pool, state.changes.backend)
    state = replace(state, dockerd=process_identity(process.pid))
    write_state(where.state, state)
    wait_until_it_answers(where, process)
    write_state(where.state, replace(state, containerd=containerd_of(process.pid)))


def _stop(where: Layout, *, force: bool) -> bool:
    state = read_state(where.state)
    engine = private_engine(where)
    if state is not None and state.is_alive and engine.answers():
        names = engine.docker("ps", "--format", "{{.Names}}").split()
        if names and not force:
            raise InfrastructureError(
                f"the private engine still runs {len(names)} containers: {', '.join(names)}",
                remedy="delete the clusters first with `servicelab down`, or stop with --force",
            )
        if names:
            # Else dockerd would give each of them 10 s to end by itself.
            engine.try_docker("kill", *names)
    programs = find_programs()
    if programs is None:
        raise InfrastructureError(
            "the programs of the private engine are gone from the cache, so its stop can't undo "
            "what its start did",
            remedy="run `servicelab engine start` and then stop it again",
        )
    clear(where, programs, state)
    return True


def clear(where: Layout, programs: Programs, state: EngineState | None) -> None:
    """End the engine's processes, dead or alive, and undo what its start changed.

    Raises:
        InfrastructureError: a process or a mount can't be got rid of.
    """
    known = [owner for owner in (state.dockerd, state.containerd) if owner] if state else []
    # What still lives after this is killed below.
    leftovers.end(known[:1], signal.SIGTERM)

    def others() -> list[ProcessIdentity]:
        return [
            *known,
            *leftovers.container_processes(where.data / "containers"),
            *leftovers.processes_below(where.run),
        ]

    # Containers don't outlive their engine; what a second round finds was forked during the first.
    for _ in range(2):
        leftovers.end(others(), signal.SIGKILL)
    if left := [owner for owner in others() if owner.is_alive()]:
        raise InfrastructureError(
            f"process {left[0].pid} of the private engine can't be ended",
            remedy=f"see what it is with: ps -fp {left[0].pid}",
        )
    leftovers.unmount_below(programs, [where.run, where.data])
    if state is not None:
        pool = IPv4Network(state.pool)
        bridges = leftovers.bridges_in(programs, pool)
        leftovers.delete_links(programs, bridges)
        shared = leftovers.other_dockerd() is not None
        guard.remove_guard(programs, pool, state.changes, bridges, shared=shared)
    leftovers.remove_cgroups(leftovers.container_ids(where.data / "containers"))
    for path in leftovers.shim_sockets(where.exec_root):
        path.unlink(missing_ok=True)
    leftovers.clear_run_folder(where)
    where.state.unlink(missing_ok=True)


def _link_client(where: Layout, programs: Programs) -> None:
    """A folder with nothing but the client, so that PATH leads to no other of our programs."""
    shutil.rmtree(where.bin, ignore_errors=True)
    where.bin.mkdir(parents=True)
    (where.bin / "docker").symlink_to(programs.root / "usr/bin/docker")
