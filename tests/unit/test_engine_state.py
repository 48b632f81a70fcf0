"""What is written about the private engine is read back, or ignored if it can't be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from servicelab.engine import users
from servicelab.engine.layout import LONGEST_SOCKET_NAME, SOCKET_PATH_LIMIT, run_folder
from servicelab.engine.state import EngineState, HostChanges, read_state, write_state
from servicelab.host import ProcessIdentity, process_identity

DEAD = ProcessIdentity(pid=2**22 - 1, started=1.0, boot_id="another boot")
STATE = EngineState(
    pool="172.30.0.0/16",
    started_by="run",
    changes=HostChanges(
        routes=("10.96.0.0/12",),
        chains=("4/filter/DOCKER",),
        policies={"4": "ACCEPT"},
        sysctls={"net/ipv4/ip_forward": "0"},
    ),
    dockerd=DEAD,
)


def test_a_state_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Everything a stop needs survives the process that started the engine."""
    path = tmp_path / "engine" / "engine.json"
    write_state(path, STATE)

    assert read_state(path) == STATE


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pool": "x"}', "null"])
def test_a_damaged_state_counts_as_none(text: str, tmp_path: Path) -> None:
    """A file cut short or of another version stops nobody."""
    path = tmp_path / "engine.json"
    path.write_text(text)

    assert read_state(path) is None


def test_no_file_is_no_state(tmp_path: Path) -> None:
    """Before the first start there is nothing to read."""
    assert read_state(tmp_path / "engine.json") is None


def test_an_engine_lives_only_as_its_very_process() -> None:
    """A later process with the same pid is not the engine."""
    me = process_identity()

    assert replace(STATE, dockerd=me).is_alive
    assert not replace(STATE, dockerd=replace(me, started=me.started - 60)).is_alive
    assert not STATE.is_alive
    assert not replace(STATE, dockerd=None).is_alive


def test_an_engine_given_to_the_user_stays_otherwise_the_same() -> None:
    """Only the owner changes."""
    assert STATE.owned_by_user() == replace(STATE, started_by="user")


def test_sockets_lie_in_the_state_folder_if_their_path_fits() -> None:
    """A usual cache folder is short enough."""
    assert run_folder(Path("/home/me/.cache/servicelab/state/engine")) == Path(
        "/home/me/.cache/servicelab/state/engine/run"
    )


def test_a_long_cache_folder_moves_the_sockets() -> None:
    """The kernel takes 107 bytes: two long folders get two short ones, each always the same."""
    one, other = Path("/very") / ("long" * 25), Path("/very") / ("lang" * 25)

    assert run_folder(one).parent == Path("/run")
    assert run_folder(one) == run_folder(one)
    assert run_folder(one) != run_folder(other)


def test_the_limit_counts_bytes_not_letters() -> None:
    """A path of 90 two-byte letters does not fit."""
    state = Path("/" + "ü" * (SOCKET_PATH_LIMIT - len(LONGEST_SOCKET_NAME) - 10))

    assert run_folder(state).parent == Path("/run")


def test_the_engine_is_in_use_until_its_last_live_user_leaves(tmp_path: Path) -> None:
    """A registered process counts until it says it is through."""
    users.register(tmp_path)
    assert users.live_users(tmp_path) == [process_identity()]

    users.release(tmp_path)
    assert users.live_users(tmp_path) == []


def test_dead_and_damaged_users_do_not_count(tmp_path: Path) -> None:
    """A killed run keeps no engine alive."""
    (tmp_path / "1").write_text(json.dumps(DEAD.to_dict()))
    (tmp_path / "2").write_text('{"pid": 2')

    assert users.live_users(tmp_path) == []
    assert not (tmp_path / "1").exists()
