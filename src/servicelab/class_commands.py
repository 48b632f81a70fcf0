"""`servicelab grade-all`, `shards` and `merge`: thin; a few calls into the library each."""

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


def grade_all(
    submissions: Submissions,
    exercise: OneExercise = "",
    workers: Annotated[
        int, typer.Option(min=0, help="Submissions at the same time; 0 for one a processor.")
    ] = 0,
    csv: Csv = None,
    json_file: Json = None,
    html: Html = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Take over what is done and has not changed.")
    ] = False,
    results: Annotated[
        Path | None, typer.Option(help="Where each grade is kept; else .servicelab/grades.")
    ] = None,
    shard: Annotated[
        str, typer.Option(help="Only a part of the students, such as 2/8; see `servicelab shards`.")
    ] = "",
    deadline_factor: Annotated[
        float, typer.Option(help="Give every wait so much more time, on a slow machine.")
    ] = 1.0,
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
