"""Make the virtual environment that the Makefile works with; needs Python 3.11 and nothing else.

Done once for each content of pyproject.toml and constraints.txt: a second call only compares
a fingerprint. The module must parse on the oldest Python 3, so that one too old can say so;
hence no `from __future__ import annotations` here, and types that need none.
"""

import sys

OLDEST = (3, 11)
if sys.version_info < OLDEST:
    sys.exit(
        "servicelab needs Python %d.%d or newer, and %s is %d.%d; "  # noqa: UP031
        "name a newer one: make PYTHON=/path/to/python3.11"
        % (OLDEST[0], OLDEST[1], sys.executable, sys.version_info[0], sys.version_info[1])
    )

import fcntl
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "servicelab-stamp"
LOG = VENV / "servicelab-install.log"
CONSTRAINTS = CHECKOUT / "constraints.txt"
STEPS = 2


class BootstrapError(Exception):
    """The environment can't be made; the text says why and what to do."""


def fingerprint() -> str:
    """What the environment depends on: the pins, this interpreter and the checkout's place."""
    digest = hashlib.sha256()
    for part in (
        (CHECKOUT / "pyproject.toml").read_bytes(),
        CONSTRAINTS.read_bytes(),
        Path(__file__).read_bytes(),
        base_identity().encode(),
    ):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def base_identity() -> str:
    """The interpreter and the place; an environment made for others of these is of no use."""
    return f"{Path(sys.executable).resolve()} {sys.version} {CHECKOUT}"


def read_stamp() -> tuple[str, str]:
    """The fingerprint and identity that the environment was made for; empty if there is none."""
    try:
        found, identity = STAMP.read_text().split("\n", 1)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return "", ""
    return found, identity


def main() -> int:
    """Make or renew the environment, unless it is there already."""
    wanted = fingerprint()
    if read_stamp()[0] == wanted and PYTHON.exists():
        return 0
    with one_at_a_time():
        if read_stamp()[0] == wanted and PYTHON.exists():
            return 0  # another make did it while this one waited
        make_environment(wanted)
    return 0


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the checkout, so that two makes don't fill one environment."""
    folder = os.open(CHECKOUT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another make that prepares .venv")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def make_environment(wanted: str) -> None:
    """Create the virtual environment, install the pinned packages, leave the stamp."""
    identity = base_identity()
    if not (PYTHON.exists() and read_stamp()[1] == identity):
        ensure_venv_works()
        with step(1, "virtual environment in .venv"):
            # A half-made one, or one of another interpreter, is no base to build on.
            shutil.rmtree(VENV, ignore_errors=True)
            run([sys.executable, "-m", "venv", str(VENV)])
    STAMP.unlink(missing_ok=True)
    pinned = sum(1 for line in CONSTRAINTS.read_text().splitlines() if "==" in line)
    with step(2, f"packages from PyPI, up to {pinned}, pinned by constraints.txt"):
        install()
    STAMP.write_text(f"{wanted}\n{identity}")


def ensure_venv_works() -> None:
    """Get what `python3 -m venv` needs where Debian has split it off.

    Raises:
        BootstrapError: it is missing and only root could install it.
    """
    found = importlib.util.find_spec("ensurepip")
    if found is not None and found.origin is not None:  # None: a folder that was left empty
        return
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    command = ["apt-get", "install", "-y", "--no-install-recommends", package]
    apt = shutil.which("apt-get")
    if apt is None:
        raise BootstrapError(
            f"{sys.executable} has no ensurepip, which `python3 -m venv` needs; install your "
            f"distribution's package of Python's venv module, then run make again"
        )
    if os.geteuid() != 0:
        raise BootstrapError(
            f"{sys.executable} has no ensurepip, which `python3 -m venv` needs; "
            f"run once: sudo {shlex.join(command)}"
        )
    say(f"{sys.executable} has no ensurepip: installing Debian's {package}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # The lists of a fresh machine are empty or old; an update is needed only then.
    first = subprocess.run(
        command, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if first.returncode != 0:
        say("apt does not find it yet: renewing its package lists")
        run([apt, "update"], env=quiet)
        run(command, env=quiet)


def install() -> None:
    """Install the project in place with its development tools, every version pinned."""
    environment = {
        # For the build backend too: pip applies it in isolated builds only from here.
        **os.environ,
        "PIP_CONSTRAINT": str(CONSTRAINTS),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
    }
    environment.pop("PYTHONPATH", None)
    command = [str(PYTHON), "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    command += ["--editable", f"{CHECKOUT}[dev]"]
    run(command, env=environment, watch=counter())


def counter() -> Callable[[str], None]:
    """Tell how far pip is; its own lines, one or two for each package, go to the log."""
    seen = 0
    told = time.monotonic()

    def watch(line: str) -> None:
        nonlocal seen, told
        if not line.startswith("Collecting "):
            if line.startswith("Installing collected packages"):
                say(f"  {seen} packages fetched, installing them")
            return
        seen += 1
        if time.monotonic() - told >= 5.0:
            told = time.monotonic()
            say(f"  {seen} packages so far")

    return watch


def run(
    command: Sequence[str],
    *,
    env: "dict[str, str] | None" = None,
    watch: "Callable[[str], None] | None" = None,
) -> None:
    """Run a command, its output into the log.

    Raises:
        BootstrapError: it failed; says the command, its last lines and where the rest is.
    """
    process = subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    lines: list[str] = []
    with process:
        for line in process.stdout or ():
            lines.append(line)
            if watch is not None:
                watch(line)
    kept = keep_log(lines)
    if process.returncode != 0:
        raise BootstrapError(
            f"`{shlex.join(command)}` failed with {process.returncode}"
            f"{f' (all of it: {LOG})' if kept else ''}:\n" + last(lines)
        )


def keep_log(lines: Iterable[str]) -> bool:
    """Write what the last command printed; not when there is no environment to put it in."""
    if not VENV.is_dir():
        return False
    LOG.write_text("".join(lines))
    return True


def last(lines: Sequence[str], count: int = 12) -> str:
    """The end of an output, indented."""
    return "".join(f"    {line.rstrip()}\n" for line in lines[-count:]).rstrip()


@contextmanager
def step(number: int, name: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    say(f"[{number}/{STEPS}] {name}")
    began = time.monotonic()
    yield
    say(f"[{number}/{STEPS}] done in {time.monotonic() - began:.1f} s")


def say(text: str) -> None:
    """One line of progress on stderr; stdout stays the command's own."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BootstrapError as error:
        sys.exit(f"servicelab: {error}")
