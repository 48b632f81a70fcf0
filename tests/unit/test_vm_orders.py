"""What a guest's first process is told, and the kernel's command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from servicelab.errors import UsageError
from servicelab.run import RESULTS
from servicelab.vm.kernel_line import Lines, kernel_line
from servicelab.vm.orders import IN_GUEST, orders_for, outermost
from servicelab.vm.processor import choose_processor


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that no test writes to."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_command_runs_where_and_with_what_it_would_run_here(
    tmp_path: Path, cache: Path
) -> None:
    """Folder, environment and arguments stay; what leads to the host's engine goes."""
    orders = orders_for(
        ["printf", "%s", "a b"],
        modules=Path("/m"),
        env={"PATH": "/usr/bin:/bin", "A": "b c", "DOCKER_HOST": "unix:///x"},
        cwd=tmp_path,
    )

    assert orders.command == ("printf", "%s", "a b")
    assert orders.cwd == str(tmp_path)
    assert orders.env == {"PATH": "/usr/bin:/bin", "A": "b c", IN_GUEST: "1"}
    assert orders.hidden == (str(cache / "state"),)
    assert orders.data == str(cache / "engine/data")
    assert json.loads(orders.to_json())["command"] == ["printf", "%s", "a b"]


def test_results_of_runs_are_kept_and_so_is_what_is_named(tmp_path: Path) -> None:
    """The folder of the runs' results is shared, and relative names are below the current one."""
    orders = orders_for(
        ["true"], modules=Path("/m"), writable=[Path("out"), Path("/srv/x")], cwd=tmp_path
    )

    assert set(orders.writable) == {str(tmp_path / RESULTS), str(tmp_path / "out"), "/srv/x"}


def test_a_program_of_this_environment_is_found_without_a_path(tmp_path: Path) -> None:
    """`vm run -- NAME` finds NAME beside this Python if PATH does not lead there."""
    name = Path(sys.executable).name

    orders = orders_for([name], modules=Path("/m"), env={"PATH": "/nowhere"}, cwd=tmp_path)
    unknown = orders_for(["no-such"], modules=Path("/m"), env={"PATH": "/nowhere"}, cwd=tmp_path)

    assert orders.command == (str(Path(sys.executable).with_name(name)),)
    assert unknown.command == ("no-such",)


def test_no_command_is_an_error() -> None:
    """The sentence says where to write it."""
    with pytest.raises(UsageError, match="no command to run; write it after --"):
        orders_for([], modules=Path("/m"))


def test_a_folder_in_a_shared_one_is_not_shared_twice() -> None:
    """The outer one has it."""
    folders = [Path("/a/b/c"), Path("/a/b"), Path("/a/bc")]

    assert outermost(folders) == ("/a/b", "/a/bc")


@pytest.mark.parametrize("name", ["/", "cache", "."])
def test_a_folder_that_holds_the_cache_is_not_shared(name: str, cache: Path) -> None:
    """A guest's engine would write to the host's."""
    folder = {"/": Path("/"), "cache": cache, ".": cache.parent}[name]

    with pytest.raises(UsageError, match=r"can't be shared with a guest.*--rw"):
        outermost([folder])


def test_a_file_is_not_shared(tmp_path: Path) -> None:
    """Folders only."""
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match="file is not a folder"):
        outermost([tmp_path / "file"])


def test_the_kernel_is_pinned_leashed_and_without_a_network() -> None:
    """One processor, gone with its parent, its files and lines as given."""
    lines = Lines(out=11, err=12, to_guest=13, from_guest=14, reports=15)

    command = kernel_line(Path("/c/linux"), Path("/dev/shm/g"), lines, memory=4096, processor=1)

    assert command[:7] == [
        *("setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", "1", "/c/linux")
    ]
    assert {"mem=4096M", "ncpus=1", "init=/dev/shm/g/init", "uml_dir=/dev/shm/g"} <= set(command)
    assert "ubd0=/dev/shm/g/cow,/dev/shm/g/data" in command
    assert {"ssl0=null,fd:11", "ssl1=null,fd:12", "ssl4=null,fd:15"} <= set(command)
    assert "ssl3=fd:13,fd:14" in command
    assert not [word for word in command if word.startswith(("eth", "vec"))]
    assert not [word for word in command if " " in word]


def test_two_guests_get_two_processors() -> None:
    """The one with the fewest guests; of several, the last."""
    assert choose_processor([], {0, 1}) == 1
    assert choose_processor([1], {0, 1}) == 0
    assert choose_processor([0, 1], {0, 1}) == 1
    assert choose_processor([5], {2}) == 2
