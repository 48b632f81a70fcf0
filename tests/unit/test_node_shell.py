"""The shells that stay in nodes, with a shell of this machine in the node's place."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from servicelab.cluster.node_shell import NodeShells
from servicelab.engine import Engine
from servicelab.errors import InfrastructureError

#: Notes its process and what it is asked for, then is the shell. The node "down" does not run, and
#: "ends" does amid a command.
DOCKER = """#!/bin/sh
echo "$$ $*" >>"$(dirname "$0")/asked"
[ "$3" = down ] && { echo "Error response from daemon: container down is not running" >&2; exit 1; }
[ "$3" = ends ] && { read -r line; echo half; exit 0; }
shift 3
exec "$@"
"""


class Docker:
    """A docker client whose `exec` runs here."""

    def __init__(self, folder: Path) -> None:
        self._asked = folder / "asked"
        binary = folder / "docker"
        binary.write_text(DOCKER)
        binary.chmod(0o755)
        self.engine = Engine("private", binary, None, dict(os.environ))

    @property
    def asked(self) -> list[str]:
        """What it was called with, in order."""
        return [line.partition(" ")[2] for line in self._asked.read_text().splitlines()]

    def kill(self) -> None:
        """Kill its clients, as their node's death does."""
        for line in self._asked.read_text().splitlines():
            os.kill(int(line.partition(" ")[0]), signal.SIGKILL)


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    """A docker client."""
    return Docker(tmp_path)


@pytest.fixture
def shells(docker: Docker) -> Iterator[NodeShells]:
    """The shells that are opened by it."""
    shells = NodeShells(docker.engine)
    yield shells
    shells.close()


def test_many_commands_take_one_exec(docker: Docker, shells: NodeShells) -> None:
    """Each gives what it printed, to the byte, and nothing of the one before."""
    words = ["one", "a b", "", "it's", "$HOME", "two\nlines", "ä"]

    assert [shells.run("worker", "printf", "%s", word) for word in words] == words
    assert docker.asked == ["exec -i worker sh"]


def test_each_node_has_its_own(docker: Docker, shells: NodeShells) -> None:
    """What is meant for one is not run in another."""
    for node in ("worker", "worker2", "worker"):
        shells.run(node, "true")

    assert docker.asked == ["exec -i worker sh", "exec -i worker2 sh"]


def test_a_failure_says_what_docker_exec_says(docker: Docker, shells: NodeShells) -> None:
    """The command, its code and what it printed on its standard error; the shell lives on."""
    with pytest.raises(InfrastructureError) as failed:
        shells.run("worker", "sh", "-c", "echo seen; echo wrong >&2; exit 7")

    assert failed.value.problem == (
        "`docker exec worker sh -c echo seen; echo wrong >&2; exit 7` failed with exit code 7: "
        "wrong"
    )
    assert shells.run("worker", "echo", "still") == "still\n"
    assert len(docker.asked) == 1


def test_a_program_that_is_not_there(shells: NodeShells) -> None:
    """Is an error as well."""
    with pytest.raises(InfrastructureError, match=r"exit code 127: .*no-such-program"):
        shells.run("worker", "no-such-program")


@pytest.mark.parametrize("builtin", ["exit", "cd", "export", ":"])
def test_a_program_is_meant_not_what_is_built_into_the_shell(
    shells: NodeShells, builtin: str
) -> None:
    """No command can end or change the shell."""
    with pytest.raises(InfrastructureError, match="exit code 127"):
        shells.run("worker", builtin)

    assert shells.run("worker", "pwd") == f"{Path.cwd()}\n"


def test_a_command_has_no_input(shells: NodeShells) -> None:
    """It can't take the next command's words."""
    assert shells.run("worker", "cat") == ""
    assert shells.run("worker", "echo", "next") == "next\n"


def test_much_is_read_whole(shells: NodeShells) -> None:
    """On both outputs, and without a last newline."""
    print_much = "import sys; sys.stderr.write('e' * 300_000); print('o' * 3_000_000, end='.')"

    assert shells.run("worker", sys.executable, "-c", print_much) == "o" * 3_000_000 + "."


def test_commands_at_the_same_time(docker: Docker, shells: NodeShells) -> None:
    """Each has a shell to itself; as many stay as were needed at once."""
    numbers = [str(number) for number in range(40)]
    with ThreadPoolExecutor(max_workers=4) as asking:
        found = list(
            asking.map(lambda n: shells.run("worker", "sh", "-c", f"sleep 0.01; echo {n}"), numbers)
        )

    assert found == [f"{number}\n" for number in numbers]
    assert len(docker.asked) <= 4


def test_a_node_that_was_started_again(docker: Docker, shells: NodeShells) -> None:
    """Its old shell died with it, and is not asked."""
    shells.run("worker", "true")
    docker.kill()
    time.sleep(0.05)

    assert shells.run("worker", "echo", "anew") == "anew\n"
    assert len(docker.asked) == 2


def test_a_node_that_dies_amid_a_command(shells: NodeShells) -> None:
    """Is an error, whatever the client's exit code: what was printed till then is no answer."""
    with pytest.raises(InfrastructureError, match=r"`docker exec ends cat` .* exit code 1:"):
        shells.run("ends", "cat")


def test_a_node_that_does_not_run(shells: NodeShells) -> None:
    """Docker's words are told."""
    with pytest.raises(InfrastructureError, match=r"exit code 1: .*container down is not running"):
        shells.run("down", "true")


def test_a_command_that_hangs_is_given_up(docker: Docker, shells: NodeShells) -> None:
    """And its shell with it."""
    began = time.monotonic()
    with pytest.raises(InfrastructureError, match=r"`docker exec worker sleep 60` did not finish"):
        shells.run("worker", "sleep", "60", timeout=0.2)

    assert time.monotonic() - began < 10
    assert shells.run("worker", "echo", "next") == "next\n"
    assert len(docker.asked) == 2


def test_closed_shells_are_opened_anew(docker: Docker, shells: NodeShells) -> None:
    """Closing ends them; who asks again gets others."""
    shells.run("worker", "true")
    shells.close()

    assert shells.run("worker", "echo", "anew") == "anew\n"
    assert len(docker.asked) == 2


def test_no_docker_client(tmp_path: Path) -> None:
    """Is said as for every other docker command."""
    engine = Engine("private", tmp_path / "nothing", None, {})

    with pytest.raises(InfrastructureError, match=r"the docker client .* can't be run: No such"):
        NodeShells(engine).run("worker", "true")
