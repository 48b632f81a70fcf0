"""Grading a class as the commands do it: found, graded on a cluster, told, written."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from servicelab.errors import InfrastructureError, UsageError
from servicelab.grading.classroom.gradebook import Gradebook
from servicelab.grading.classroom.running import Told, grade_class, grade_everybody
from servicelab.grading.classroom.shelf import SHELF, Shelf
from servicelab.grading.classroom.struggles import views
from servicelab.grading.classroom.submissions import HandedIn, Roll, collect, parse_shard
from servicelab.grading.report.text import headline
from servicelab.grading.results import Grade, Outcome
from servicelab.report.safe_text import one_line
from servicelab.report.wrapped import hanging, terminal_width

if TYPE_CHECKING:
    from servicelab.cluster.existing import ExistingCluster
    from servicelab.grading.grader import Grader
    from servicelab.grading.job import Order
    from servicelab.progress import Progress

_LONGEST = 160


def collected(submissions: Path, exercise: str, shard: str) -> Roll:
    """The submissions of a folder, or of one part of the class.

    Args:
        submissions: the folder.
        exercise: what everybody has done; "" if the folders' names say it.
        shard: "NUMBER/OF"; "" for all.

    Raises:
        UsageError: there is no such folder, exercise or part.
    """
    from servicelab.grading.catalogue import all_exercises, find_exercise

    exercises = [find_exercise(exercise)] if exercise else all_exercises()
    roll = collect(submissions, exercises, one=bool(exercise))
    if not roll.handed_in:
        raise UsageError(
            f"there is no submission in {submissions}",
            remedy="lay STUDENT/EXERCISE/ there; or STUDENT/, and name the --exercise",
        )
    for each in roll.passed_over:
        print(f"passed over: {each}", file=sys.stderr)
    return roll.shard(*parse_shard(shard)) if shard else roll


def grade_roll(
    roll: Roll,
    *,
    results: Path | None,
    seed: str,
    workers: int,
    resume: bool,
    cluster_name: str,
    progress: Progress,
) -> Gradebook:
    """Grade all submissions of a roll, and tell of each.

    Args:
        roll: what was handed in.
        results: where each grade is kept; None for the usual place.
        seed: the course's.
        workers: submissions at a time.
        resume: take over what is done and has not changed.
        cluster_name: of the cluster, which is made if it is not there.
        progress: where the cluster's making is told.

    Raises:
        UsageError: something given can't be used.
    """

    @contextmanager
    def open_grader() -> Iterator[Grader]:
        from servicelab.grading.grader import Grader
        from servicelab.grading.intake.abandoned import sweep_abandoned
        from servicelab.grading.running import grading_cluster

        with grading_cluster(cluster_name, keep=False, progress=progress) as cluster:
            for namespace in sweep_abandoned(cluster):
                progress.say(f"removed the namespace {namespace}, which a killed run left")
            try:
                with Grader(cluster, seed=seed) as grader:
                    yield grader
            finally:
                # Of those that were given up, or were amid something when all was interrupted.
                with suppress(InfrastructureError):
                    sweep_abandoned(cluster, mine=True)

    grades = grade_class(
        roll.handed_in,
        Shelf(results or SHELF, seed),
        open_grader,
        workers=workers,
        resume=resume,
        told=teller(len(roll.handed_in)),
    )
    return Gradebook.of(roll, grades, seed=seed)


def grade_roll_as_job(
    roll: Roll,
    cluster: ExistingCluster,
    order: Order,
    *,
    results: Path | None,
    resume: bool,
    image: str,
) -> Gradebook:
    """As `grade_roll`, by Pods of a Job in a cluster that is there.

    Args:
        roll: what was handed in.
        cluster: where.
        order: how many Pods, and how they grade.
        results: where each grade is kept here; None for the usual place.
        resume: take over what is done and has not changed.
        image: the grader's.

    Raises:
        UsageError: something given can't be used.
    """
    from servicelab.grading.job import grade_as_job

    grades = grade_everybody(
        roll.handed_in,
        Shelf(results or SHELF, order.seed),
        lambda pending: grade_as_job(cluster, pending, order, image=image),
        workers=os.cpu_count() or 1,
        resume=resume,
        told=teller(len(roll.handed_in)),
    )
    return Gradebook.of(roll, grades, seed=order.seed)


def teller(total: int) -> Told:
    """What tells on the terminal of each grade of so many."""
    number = 0

    def told(handed_in: HandedIn, grade: Grade, taken_over: bool) -> None:
        nonlocal number
        number += 1
        took = "taken over" if taken_over else f"{grade.seconds:.1f} s"
        print(f"[{number}/{total}] {headline(grade)} ({took})", flush=True)
        if grade.reason:
            _print("    ", one_line(grade.reason, _LONGEST))

    return told


def write_book(
    book: Gradebook, *, csv: Path | None, json_file: Path | None, html: Path | None
) -> None:
    """Write a gradebook into files, and say on the terminal where the class struggled.

    Raises:
        UsageError: a file can't be written.
    """
    from servicelab.grading.classroom import page

    texts: dict[Path | None, Callable[[], str]] = {
        csv: book.to_csv,
        json_file: lambda: json.dumps(book.to_json(), indent=1) + "\n",
        html: lambda: page.render(book),
    }
    for path, text in texts.items():
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not the text layer: csv ends its lines as its standard says.
            path.write_bytes(text().encode("utf-8"))
        except OSError as error:
            raise UsageError(
                f"{path} can't be written: {error.strerror or error}", remedy="name another file"
            ) from None
    for line in summary(book):
        said = line.lstrip()
        _print(line[: len(line) - len(said)], said)


def _print(head: str, text: str) -> None:
    print("\n".join(hanging(head, text, terminal_width())), flush=True)


def summary(book: Gradebook) -> Iterator[str]:
    """What the class got, in a few lines."""
    for view in views(book):
        outcomes = [
            f"{view.graded} graded",
            f"{view.refused} refused" if view.refused else "",
            f"{view.not_graded} {Outcome.NOT_GRADED}" if view.not_graded else "",
            f"{view.missing} not handed in" if view.missing else "",
        ]
        mean = f", mean {view.mean:.1f} of {view.task.possible}" if view.mean is not None else ""
        yield f"{view.task.name}: {', '.join(filter(None, outcomes))}{mean}"
        if hurdle := view.hardest:
            met = f"{hurdle.met} of {hurdle.met + hurdle.missed}"
            why = f": {hurdle.reasons[0].example}" if hurdle.reasons else ""
            yield "  " + one_line(f"hardest: {hurdle.id}, met by {met}{why}", _LONGEST)
