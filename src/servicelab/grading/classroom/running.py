"""Grading everybody: several at a time on one cluster, and nobody waits for another's mistake."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Protocol

from servicelab.errors import ServicelabError, UsageError
from servicelab.grading.classroom.submissions import HandedIn
from servicelab.grading.exercise import Exercise
from servicelab.grading.offline import look_offline
from servicelab.grading.results import Grade, Outcome
from servicelab.grading.sheet import Sheet
from servicelab.report.safe_text import one_line
from servicelab.verdict import deadlines


class Grades(Protocol):
    """What grades: a `Grader`."""

    def grade(self, exercise: Exercise, path: Path, *, student: str = "") -> Grade:
        """Grade one submission."""
        ...


class Keeps(Protocol):
    """Where grades are kept: a `Shelf`.

    Attributes:
        seed: the course's.
    """

    @property
    def seed(self) -> str: ...

    def keep(self, handed_in: HandedIn, grade: Grade) -> None:
        """Keep a grade."""
        ...

    def find(self, handed_in: HandedIn, digest: str) -> Grade | None:
        """The grade of this very submission, if it is there and says something about it."""
        ...


#: Told of each result, and whether it was taken over from a run before.
Told = Callable[[HandedIn, Grade, bool], None]


@dataclass(frozen=True, slots=True)
class Pending:
    """A submission that needs a cluster.

    Attributes:
        handed_in: the submission.
        looked: what is known of it without a cluster.
        takes: what only one submission on a cluster can have at a time: node ports, a turn.
    """

    handed_in: HandedIn
    looked: Grade
    takes: frozenset[str]

    @property
    def limit(self) -> float:
        """Seconds after which it is given up, whatever it hangs at."""
        current = deadlines.current()
        checks = self.handed_in.exercise.seconds or current.graded_in_all.seconds
        return checks + current.graded_around.seconds


def grade_class(
    handed_in: Sequence[HandedIn],
    shelf: Keeps,
    open_grader: Callable[[], AbstractContextManager[Grades]],
    *,
    workers: int,
    resume: bool = False,
    told: Told = lambda handed_in, grade, taken_over: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Grade]:
    """Grade submissions from here, several at a time; as `grade_everybody`.

    Args:
        handed_in: the submissions.
        shelf: where grades are kept.
        open_grader: gives what grades on a cluster; entered only if a submission needs it.
        workers: submissions at a time.
        resume: take over the grades of submissions that are on the shelf and have not changed.
        told: told of each result, in this thread.
        clock: seconds since some fixed moment.
    """

    def on_the_cluster(
        pending: Sequence[Pending],
    ) -> Generator[tuple[Pending, Grade], None, None]:
        with open_grader() as grader:
            yield from _graded(grader, pending, workers, clock)

    return grade_everybody(
        handed_in, shelf, on_the_cluster, workers=workers, resume=resume, told=told
    )


def grade_everybody(
    handed_in: Sequence[HandedIn],
    shelf: Keeps,
    on_a_cluster: Callable[[Sequence[Pending]], Generator[tuple[Pending, Grade], None, None]],
    *,
    workers: int,
    resume: bool = False,
    told: Told = lambda handed_in, grade, taken_over: None,
) -> list[Grade]:
    """Grade submissions; what can be said without a cluster first.

    Each grade is on the shelf before the next thing is done.

    Args:
        handed_in: the submissions.
        shelf: where grades are kept.
        on_a_cluster: grades those that need a cluster, and gives each grade as it comes; begun only
            if there are any.
        workers: submissions that are looked at at a time.
        resume: take over the grades of submissions that are on the shelf and have not changed.
        told: told of each result, in this thread.

    Returns:
        The grades in the order of the submissions.
    """
    grades: dict[tuple[str, str], Grade] = {}

    def deliver(each: HandedIn, grade: Grade, *, taken_over: bool = False) -> None:
        if not taken_over:
            shelf.keep(each, grade)
        grades[each.key] = grade
        told(each, grade, taken_over)

    jobs: list[Pending] = []
    for each, seen in _looks(handed_in, shelf, workers, resume):
        if isinstance(seen, Pending):
            jobs.append(seen)
        else:
            deliver(each, seen.grade, taken_over=seen.taken_over)
    if jobs:
        order = {each.key: place for place, each in enumerate(handed_in)}
        jobs.sort(key=lambda job: order[job.handed_in.key])
        try:
            with closing(on_a_cluster(jobs)) as coming:
                for job, grade in coming:
                    deliver(job.handed_in, grade)
        except UsageError:
            raise
        except ServicelabError as error:
            # No cluster: it costs nobody points, and the next run begins here.
            for job in jobs:
                if job.handed_in.key not in grades:
                    deliver(job.handed_in, not_graded(job.looked, str(error)))
    return [grades[each.key] for each in handed_in]


@dataclass(frozen=True, slots=True)
class _Known:
    grade: Grade
    taken_over: bool


def _looks(
    handed_in: Sequence[HandedIn], shelf: Keeps, workers: int, resume: bool
) -> Iterator[tuple[HandedIn, Pending | _Known]]:
    """What can be said of each without a cluster, in the order in which it is found."""
    pool = ThreadPoolExecutor(workers)
    try:
        looking = {pool.submit(_look, each, shelf, resume): each for each in handed_in}
        for done in as_completed(looking):
            yield looking[done], done.result()
    finally:
        # When it is interrupted, nobody waits for those that have not begun.
        pool.shutdown(cancel_futures=True)


def _look(each: HandedIn, shelf: Keeps, resume: bool) -> Pending | _Known:
    try:
        return _looked(each, shelf, resume)
    except UsageError:
        raise  # the course's own mistake, which everybody's grade would have
    except Exception as error:  # noqa: BLE001  # as in _grade
        return _Known(not_graded(_nothing(each), _sentence(error)), taken_over=False)


def _looked(each: HandedIn, shelf: Keeps, resume: bool) -> Pending | _Known:
    sheet = Sheet(each.exercise, each.student, shelf.seed)
    looked = look_offline(sheet, each.path)
    if looked.submission is None:
        return _Known(looked.grade, taken_over=False)
    if resume and (kept := shelf.find(each, looked.submission.digest)):
        return _Known(kept, taken_over=True)
    takes = {f"node port {port}" for port in looked.submission.fixed_node_ports}
    if sheet.turn:
        takes.add(f"turn {sheet.turn}")
    return Pending(each, looked.grade, frozenset(takes))


@dataclass(frozen=True, slots=True)
class _Running:
    job: Pending
    until: float


def _graded(
    grader: Grades, jobs: Iterable[Pending], workers: int, clock: Callable[[], float]
) -> Iterator[tuple[Pending, Grade]]:
    """Grade jobs, so many at a time; one that goes on for too long is left to itself."""
    waiting = list(jobs)
    running: dict[int, _Running] = {}
    ended: SimpleQueue[tuple[int, Grade]] = SimpleQueue()
    number = 0
    while waiting or running:
        while len(running) < workers and (job := _next(waiting, running.values())):
            number += 1
            running[number] = _Running(job, clock() + job.limit)
            # A daemon: at the end nobody waits for one that was left to itself.
            Thread(target=_grade, args=(grader, job, number, ended), daemon=True).start()
        try:
            soonest = min(each.until for each in running.values())
            which, grade = ended.get(timeout=max(0.0, soonest - clock()))
        except Empty:
            for which, each in list(running.items()):
                if each.until <= clock():
                    del running[which]
                    why = f"it had not ended after {each.job.limit:.0f} s, and was given up"
                    yield each.job, not_graded(each.job.looked, why)
            continue
        if which in running:
            yield running.pop(which).job, grade


def _next(waiting: list[Pending], running: Iterable[_Running]) -> Pending | None:
    """Take out the first job that takes nothing that a running one has."""
    taken = {each for one in running for each in one.job.takes}
    for place, job in enumerate(waiting):
        if not job.takes & taken:
            return waiting.pop(place)
    return None


def _grade(
    grader: Grades, job: Pending, number: int, ended: SimpleQueue[tuple[int, Grade]]
) -> None:
    each = job.handed_in
    try:
        grade = grader.grade(each.exercise, each.path, student=each.student)
    except Exception as error:  # noqa: BLE001  # a mistake of ours, met by one, must not stop all
        grade = not_graded(job.looked, _sentence(error))
    ended.put((number, grade))


def _nothing(each: HandedIn) -> Grade:
    """What is known of a submission that could not even be looked at."""
    return Grade(
        exercise=each.exercise.name,
        title=each.exercise.title,
        student=each.student,
        outcome=Outcome.NOT_GRADED,
        possible=each.exercise.possible,
        version=each.exercise.version,
    )


def not_graded(looked: Grade, why: str) -> Grade:
    """What is known of a submission without a cluster, and why that is all."""
    return dataclasses.replace(
        looked, outcome=Outcome.NOT_GRADED, reason=why, graded_at=time.time()
    )


def _sentence(error: Exception) -> str:
    if isinstance(error, ServicelabError):
        return str(error)
    return f"the grader failed: {type(error).__name__}: {one_line(str(error), 500)}"
