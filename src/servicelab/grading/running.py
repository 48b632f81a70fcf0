"""Grading as the commands do it: a cluster that is there or is made, and files that are written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from servicelab.errors import ServicelabError, UsageError
from servicelab.grading.exercise import Exercise
from servicelab.grading.offline import look_offline
from servicelab.grading.parameters import Value
from servicelab.grading.results import Grade, Outcome
from servicelab.grading.sheet import Sheet

if TYPE_CHECKING:
    from servicelab.cluster import Cluster
    from servicelab.progress import Progress


@contextmanager
def grading_cluster(
    name: str, *, keep: bool, progress: Progress | None = None
) -> Iterator[Cluster]:
    """The cluster of that name; made if it is not there, and then deleted again unless kept.

    A kept one is not claimed: several processes may grade on it at the same time.

    Raises:
        InfrastructureError: it could not be made or is not sound.
        UsageError: it is in use by a run that has it for itself.
    """
    from servicelab.cluster import Cluster, cluster_lock, read_lease
    from servicelab.content import default_kind_config
    from servicelab.engine import stop_if_unused
    from servicelab.grading.intake.abandoned import sweep_abandoned

    lease = read_lease(name)
    stays = keep or (lease is not None and lease.keep)
    cluster = Cluster(name, keep=stays, made_by="up" if stays else "run", progress=progress)
    with cluster_lock(name):
        cluster.create(default_kind_config())
        if stays:
            cluster.release()
    try:
        sweep_abandoned(cluster)
        yield cluster
    finally:
        if stays:
            cluster.close()
        else:
            cluster.release()
            stop_if_unused(cluster.engine)


def grade_once(
    exercise: Exercise,
    path: Path,
    *,
    student: str,
    seed: str,
    values: Mapping[str, Value] | None = None,
    cluster_name: str,
    keep: bool,
    progress: Progress | None = None,
) -> Grade:
    """Grade one submission: without a cluster first, and with one only if that finds nothing.

    Raises:
        UsageError: there is no such path, or the exercise can't be used.
    """
    from servicelab.grading.grader import grade_submission

    sheet = Sheet(exercise, student, seed, values)
    looked = look_offline(sheet, path)
    if looked.submission is None:
        return looked.grade
    try:
        with grading_cluster(cluster_name, keep=keep, progress=progress) as cluster:
            return grade_submission(cluster, sheet, path)
    except ServicelabError as error:
        return dataclasses.replace(looked.grade, outcome=Outcome.NOT_GRADED, reason=str(error))


def write_reports(
    grade: Grade,
    *,
    json_file: Path | None = None,
    junit: Path | None = None,
    markdown: Path | None = None,
    html: Path | None = None,
    autograding: Path | None = None,
) -> None:
    """Write a grade into files.

    Raises:
        UsageError: one of them can't be written.
    """
    from servicelab.grading.report import autograding as as_autograding
    from servicelab.grading.report import junit as as_junit
    from servicelab.grading.report import markdown as as_markdown
    from servicelab.grading.report import page

    texts: dict[Path | None, Callable[[], str]] = {
        json_file: lambda: json.dumps(grade.to_json(), indent=1) + "\n",
        junit: lambda: as_junit.render(grade),
        markdown: lambda: as_markdown.render(grade),
        html: lambda: page.render(grade),
        autograding: lambda: as_autograding.render(grade),
    }
    for path, text in texts.items():
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text(), encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"{path} can't be written: {error.strerror or error}", remedy="name another file"
            ) from None
