"""`servicelab grade-all`, `grade-job`, `shards` and `merge`: thin; a few calls into the library."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from servicelab.exercise_commands import DEFAULT_CLUSTER, Name, Seed

Submissions = Annotated[
    Path, typer.Argument(metavar="SUBMISSIONS", help="A folder with an entry for each student.")
]
OneExercise = Annotated[
    str,
    typer.Option(help="What everybody has done; else each student has a folder with exercises."),
]
Csv = Annotated[Path | None, typer.Option("--csv", help="Write a gradebook there.")]
Json = Annotated[
    Path | None, typer.Option("--json", help="Write JSON there; `servicelab merge` reads it.")
]
Html = Annotated[
    Path | None, typer.Option("--html", help="Write a page on where the class struggled there.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Take over what is done and has not changed.")
]
Results = Annotated[
    Path | None, typer.Option(help="Where each grade is kept; else .servicelab/grades.")
]
DeadlineFactor = Annotated[
    float, typer.Option(help="Give every wait so much more time, on a slow machine.")
]


def grade_all(
    submissions: Submissions,
    exercise: OneExercise = "",
    workers: Annotated[
        int, typer.Option(min=0, help="Submissions at the same time; 0 for one a processor.")
    ] = 0,
    csv: Csv = None,
    json_file: Json = None,
    html: Html = None,
    resume: Resume = False,
    results: Results = None,
    shard: Annotated[
        str, typer.Option(help="Only a part of the students, such as 2/8; see `servicelab shards`.")
    ] = "",
    deadline_factor: DeadlineFactor = 1.0,
    name: Name = DEFAULT_CLUSTER,
    seed: Seed = "",
) -> None:
    """Grade everybody's submissions on one cluster.

    Exit code: 0 all have their grade, 3 some could not be graded (--resume tries these again).
    """
    from servicelab.grading.classroom.commands import collected, grade_roll, write_book
    from servicelab.progress import Progress
    from servicelab.verdict.deadlines import multiplied

    roll = collected(submissions, exercise, shard)
    with multiplied(deadline_factor):
        book = grade_roll(
            roll,
            results=results,
            seed=seed,
            workers=workers or os.cpu_count() or 1,
            resume=resume,
            cluster_name=name,
            progress=Progress(),
        )
    write_book(book, csv=csv, json_file=json_file, html=html)
    raise typer.Exit(3 if book.not_graded else 0)


def grade_job(
    submissions: Submissions,
    context: Annotated[
        str, typer.Option(help="Of the kubeconfig: the cluster to grade on, which is there.")
    ] = "",
    kubeconfig: Annotated[
        Path | None, typer.Option(help="The file that has the context; else kubectl's.")
    ] = None,
    name: Annotated[
        str, typer.Option("--cluster-name", help="Instead, a kept cluster of servicelab's own.")
    ] = "",
    registry: Annotated[
        str, typer.Option(help="Where its nodes pull servicelab's images from; see images push.")
    ] = "",
    exercise: OneExercise = "",
    of: Annotated[
        int, typer.Option("--shards", min=1, max=256, help="Parts of the class; a Pod each.")
    ] = 4,
    parallel: Annotated[
        int, typer.Option(min=0, max=256, help="Pods at the same time; 0 for all.")
    ] = 0,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Submissions at the same time in each Pod.")
    ] = 2,
    csv: Csv = None,
    json_file: Json = None,
    html: Html = None,
    resume: Resume = False,
    results: Results = None,
    deadline_factor: DeadlineFactor = 1.0,
    seed: Seed = "",
) -> None:
    """Grade everybody's submissions inside a cluster that is there, by the Pods of a Job.

    It needs a user who may make namespaces and ClusterRoles. All that is made goes in the end.
    Exit code: 0 all have their grade, 3 some could not be graded (--resume tries these again).
    """
    from servicelab.bundle.grader import grader_image
    from servicelab.grading.classroom.commands import collected, grade_roll_as_job, write_book
    from servicelab.grading.job import Order
    from servicelab.grading.job.choosing import chosen
    from servicelab.progress import Progress
    from servicelab.verdict.deadlines import multiplied

    roll = collected(submissions, exercise, "")
    cluster = chosen(context, kubeconfig, name, registry, Progress())
    order = Order(of, parallel or of, workers, seed, deadline_factor)
    try:
        with multiplied(deadline_factor):
            book = grade_roll_as_job(
                roll, cluster, order, results=results, resume=resume, image=grader_image()
            )
    finally:
        cluster.close()
    write_book(book, csv=csv, json_file=json_file, html=html)
    raise typer.Exit(3 if book.not_graded else 0)


def grade_shard() -> None:
    """What a Pod of `grade-job` runs: its part of the class, as its ConfigMaps say."""
    from servicelab.grading.job.worker import grade_shard as grade

    raise typer.Exit(grade())


def shards(
    submissions: Submissions,
    of: Annotated[int, typer.Option(min=1, max=256, help="How many parts.")],
    exercise: OneExercise = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a matrix for CI.")] = False,
) -> None:
    """Divide a class into parts, each for a machine of its own: grade-all --shard, then merge.

    The JSON is a matrix for GitHub Actions: `matrix: ${{ fromJSON(…) }}`, then `matrix.shard`.
    """
    from servicelab.grading.classroom.commands import collected

    whole = collected(submissions, exercise, "")
    parts = [(f"{number}/{of}", whole.shard(number, of)) for number in range(1, of + 1)]
    used = [(which, part) for which, part in parts if part.handed_in]
    if as_json:
        print(json.dumps({"shard": [which for which, _ in used]}))
        return
    for which, part in used:
        print(f"{which}: {len(part.students)} students, {len(part.handed_in)} submissions")


def merge(
    files: Annotated[list[Path], typer.Argument(help="What `grade-all --json` wrote.")],
    csv: Csv = None,
    json_file: Json = None,
    html: Html = None,
) -> None:
    """Put the grades of several runs together.

    Exit code: 0 all have their grade, 3 some could not be graded.
    """
    from servicelab.grading.classroom.commands import write_book
    from servicelab.grading.classroom.gradebook import merge as merge_books
    from servicelab.grading.classroom.gradebook import read

    book = merge_books([(str(file), read(file)) for file in files])
    write_book(book, csv=csv, json_file=json_file, html=html)
    raise typer.Exit(3 if book.not_graded else 0)
