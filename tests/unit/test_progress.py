"""Progress: one line a step, with its time and what comes next."""

from __future__ import annotations

import io

import pytest

from servicelab.progress import Progress, duration


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (400, "6 min 40 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (3720, "1 h 02 min"),
    ],
)
def test_durations_read_as_a_person_says_them(seconds: float, words: str) -> None:
    """Rounding never gives "60.0 s" or "60 min"."""
    assert duration(seconds) == words


def test_planned_steps_say_their_number_the_next_one_and_the_time_so_far() -> None:
    """With a plan, a line has all that a waiting person asks for."""
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream=stream, clock=clock)
    progress.plan(["etcd", "kube-apiserver", "kubelet"])

    with progress.step("etcd"):
        clock.now += 15
    with progress.step("kube-apiserver"):
        clock.now += 241.2

    assert stream.getvalue().splitlines() == [
        "[ 1/3] etcd …",
        "[ 1/3] etcd  done in 15.0 s (next: kube-apiserver; 15.0 s so far)",
        "[ 2/3] kube-apiserver …",
        "[ 2/3] kube-apiserver  done in 4 min 01 s (next: kubelet; 4 min 16 s so far)",
    ]


def test_without_a_plan_there_is_no_total() -> None:
    """Unknown totals are left out, not guessed."""
    stream = io.StringIO()
    progress = Progress(stream=stream, clock=Clock())

    with progress.step("fetch") as step:
        step.note("cached")

    assert stream.getvalue().splitlines()[-1] == "[ 1] fetch  done in 0.0 s, cached (0.0 s so far)"


def test_a_step_inside_another_is_indented_and_not_counted() -> None:
    """Nested steps don't upset the numbers."""
    stream = io.StringIO()
    progress = Progress(stream=stream, clock=Clock())
    progress.plan(["outer", "last"])

    with progress.step("outer"), progress.step("inner"):
        pass
    with progress.step("last"):
        pass

    starts = [line for line in stream.getvalue().splitlines() if line.endswith("…")]
    assert starts == ["[ 1/2] outer …", "        inner …", "[ 2/2] last …"]


def test_a_skipped_planned_step_is_no_longer_next() -> None:
    """What was planned before the step that runs is over."""
    stream = io.StringIO()
    progress = Progress(stream=stream, clock=Clock())
    progress.plan(["pull", "build", "load"])

    with progress.step("build"):
        pass

    assert "next: load" in stream.getvalue()


def test_a_failed_step_is_marked_and_its_error_passes() -> None:
    """A failure is never shown as done, and not swallowed."""
    clock, stream = Clock(), io.StringIO()

    def build() -> None:
        with Progress(stream=stream, clock=clock).step("build"):
            clock.now += 2
            raise ValueError("disk")

    with pytest.raises(ValueError, match="disk"):
        build()

    assert stream.getvalue().splitlines()[-1] == "[ 1] build  FAILED after 2.0 s"


def test_an_interrupted_step_says_so() -> None:
    """Ctrl-C is not the step's failure."""
    stream = io.StringIO()

    with pytest.raises(KeyboardInterrupt), Progress(stream=stream).step("build"):
        raise KeyboardInterrupt

    assert "build  interrupted after" in stream.getvalue()


def test_quiet_shows_failures_only() -> None:
    """A quiet run still says which step failed."""
    stream = io.StringIO()
    progress = Progress(stream=stream, quiet=True, clock=Clock())

    with progress.step("fine"):
        progress.say("hello")
    with pytest.raises(ValueError, match="x"), progress.step("bad"):
        raise ValueError("x")

    assert stream.getvalue() == "[ 2] bad  FAILED after 0.0 s\n"


def test_a_terminal_gets_one_line_a_step() -> None:
    """On a terminal the line of a running step is replaced by its result."""
    stream = Terminal()

    with Progress(stream=stream, clock=Clock()).step("build"):
        pass

    assert stream.getvalue() == "[ 1] build … \r\033[K[ 1] build  done in 0.0 s (0.0 s so far)\n"


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """stdout stays free for results."""
    with Progress().step("build"):
        pass

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "build" in captured.err
