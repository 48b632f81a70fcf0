"""Signals for guests that other threads start, and running several at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from servicelab.errors import InfrastructureError
from servicelab.progress import Progress
from servicelab.vm import guest as guests
from servicelab.vm import running
from servicelab.vm.guest import Machine
from servicelab.vm.orders import IN_GUEST, Orders
from servicelab.vm.parts import Parts
from servicelab.vm.relay import Reins, signals_to
from servicelab.vm.running import Ended, Errand, run_in_guests
from servicelab.vm.streams import Sinks


class Guest:
    """Ends when it was sent as many signals as it takes; keeps them, and who started it."""

    def __init__(self, patience: int = 1, code: int = 5) -> None:
        self.got: list[int] = []
        self.patience = patience
        self.code = code
        self.thread = threading.current_thread()
        self.enough = threading.Event()
        self.starved: tuple[str, ...] = ()

    def signal(self, number: int) -> None:
        """Take a signal."""
        self.got.append(number)
        if len(self.got) >= self.patience:
            self.enough.set()

    def wait_until_it_runs(self) -> None:
        """At once."""

    def wait(self) -> int:
        """Until it had enough."""
        assert self.enough.wait(20)
        return self.code


def test_signals_that_come_too_early_wait_for_the_guest() -> None:
    """In their order; a stop is told once, and is nobody's signal."""
    reins, guest = Reins(), Guest()
    reins.signal(signal.SIGHUP)
    reins.stop()
    assert reins.ended_early == signal.SIGHUP

    reins.lead(guest)
    reins.stop()
    reins.signal(signal.SIGTERM)

    assert guest.got == [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]
    assert reins.signals == (signal.SIGHUP, signal.SIGTERM)
    assert reins.stopped
    assert reins.ended_early is None


def test_all_get_what_this_process_gets() -> None:
    """Meanwhile only."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)]
    one, other = Guest(), Guest()

    with signals_to([one, other]):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)

    assert one.got == other.got == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)] == before


def test_signals_that_interrupt_one_another_keep_their_order() -> None:
    """A signal that comes while one is passed on does not overtake it."""
    other = Guest()

    class Interrupted(Guest):
        def signal(self, number: int) -> None:
            super().signal(number)
            if number == signal.SIGHUP:
                os.kill(os.getpid(), signal.SIGTERM)

    one = Interrupted()
    with signals_to([one, other]):
        os.kill(os.getpid(), signal.SIGHUP)

    assert one.got == other.got == [signal.SIGHUP, signal.SIGTERM]


class House:
    """Where guests are started: those of the test in a machine's place."""

    def __init__(self, patience: int = 1) -> None:
        self.patience = patience
        self.started: list[Guest] = []
        self.gone: list[threading.Thread] = []
        self.both = threading.Barrier(2, self.signal_us)
        self.signals: list[int] = []

    def signal_us(self) -> None:
        """Once both run."""
        for number in self.signals:
            os.kill(os.getpid(), number)

    @contextmanager
    def guest(self, machine: Machine, orders: Orders, sinks: Sinks) -> Iterator[Guest]:
        """As servicelab.vm.guest does."""
        if orders.command[-1] == "broken":
            raise InfrastructureError("the guest did not start")
        guest = Guest(self.patience)
        if orders.command[-1] == "hungry":
            guest.starved = ("kube-apiserver", "etcd")
        self.started.append(guest)
        if self.signals:
            self.both.wait(20)
        else:
            guest.enough.set()
        yield guest
        self.gone.append(threading.current_thread())


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> House:
    """With parts and memory enough."""
    house = House()
    monkeypatch.setattr(running, "guest", house.guest)
    monkeypatch.setattr(running, "ensure_parts", lambda _: Parts(tmp_path, tmp_path, tmp_path))
    monkeypatch.setattr(guests, "MEMORY_FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(IN_GUEST, raising=False)
    return house


def errands(*commands: str) -> list[Errand]:
    return [Errand([command], Sinks(1, 2), dict(os.environ)) for command in commands]


def run(errands: Sequence[Errand], memory: float = 0.25) -> Sequence[object]:
    return run_in_guests(errands, memory=memory, progress=Progress(quiet=True))


@pytest.mark.parametrize(
    "numbers", [[signal.SIGTERM], [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]]
)
def test_signals_reach_both_guests(house: House, numbers: list[signal.Signals]) -> None:
    """While the main thread waits for them; each ends in the thread that started it."""
    house.signals, house.patience = [*numbers], len(numbers)

    ended = run(errands("true", "false"))

    assert ended == [Ended(5, tuple(numbers))] * 2
    assert [guest.got for guest in house.started] == [[*numbers]] * 2
    assert {guest.thread for guest in house.started} == set(house.gone)
    assert threading.main_thread() not in house.gone


def test_a_guest_that_fails_leaves_the_other_alone(house: House) -> None:
    """What became of each is told."""
    failed, ended = run(errands("broken", "true"))

    assert str(failed) == "the guest did not start"
    assert ended == Ended(5, ())


def test_a_guest_that_was_stopped_before_is_not_started(house: House) -> None:
    """There is nothing to end then."""
    both = errands("true", "false")
    both[1].reins.stop()

    assert run(both) == [Ended(5, ()), Ended(130, ())]
    assert len(house.started) == 1


def test_a_guest_that_ran_out_of_memory_is_told_of(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever its command made of it."""
    run_in_guests(errands("true", "hungry"), memory=0.25, progress=Progress())

    assert capsys.readouterr().err.strip() == (
        "guest 2 ran out of memory, and its kernel ended kube-apiserver, etcd: what failed in it "
        "may have failed for that"
    )


def test_memory_for_all_is_asked_for_at_once(house: House) -> None:
    """Neither is started."""
    with pytest.raises(InfrastructureError, match=r"2 guests with .* each need .*--guests"):
        run(errands("true", "true"), memory=1 << 30)

    assert not house.started
