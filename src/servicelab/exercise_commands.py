"""`servicelab grade` and `servicelab exercise`: thin; a few calls into the library each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from servicelab.errors import UsageError
from servicelab.report.wrapped import hanging, terminal_width

exercise_app = typer.Typer(
    help="Exercises: to do, to hand out, and to write.", no_args_is_help=True
)

DEFAULT_CLUSTER = "servicelab"

Name = Annotated[
    str,
    typer.Option("--cluster-name", envvar="SERVICELAB_CLUSTER", help="Name of the kind cluster."),
]
ExerciseName = Annotated[str, typer.Argument(metavar="EXERCISE", help="A name, or a folder.")]
Submitted = Annotated[
    Path, typer.Argument(metavar="PATH", help="A manifest, or a folder of manifests.")
]
Student = Annotated[
    str, typer.Option(help="Whose it is; each student has names and numbers of their own.")
]
Seed = Annotated[
    str,
    typer.Option(envvar="SERVICELAB_SEED", help="The course's; another one changes all numbers."),
]


def grade(
    exercise: ExerciseName,
    path: Submitted,
    student: Student = "",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write JSON there.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML there.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write Markdown there.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page there.")] = None,
    autograding: Annotated[
        Path | None, typer.Option(help="Write a result for GitHub Classroom there.")
    ] = None,
    name: Name = DEFAULT_CLUSTER,
    seed: Seed = "",
) -> None:
    """Grade a submission by what it does on a real cluster.

    Exit code: 0 full marks, 1 fewer, 3 could not grade (costs no points), 4 refused.
    """
    from servicelab.grading.catalogue import find_exercise
    from servicelab.grading.report import text
    from servicelab.grading.running import grade_once, write_reports
    from servicelab.progress import Progress

    graded = grade_once(
        find_exercise(exercise),
        path,
        student=student,
        seed=seed,
        cluster_name=name,
        keep=False,
        progress=Progress(),
    )
    print(text.render(graded, terminal_width()), end="")
    write_reports(
        graded,
        json_file=json_file,
        junit=junit,
        markdown=markdown,
        html=html,
        autograding=autograding,
    )
    raise typer.Exit(graded.exit_code)


@exercise_app.command("list")
def exercise_list(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the exercises, the easy ones first."""
    from servicelab.grading.catalogue import all_exercises

    found = all_exercises()
    if as_json:
        rows = [
            {
                "name": each.name,
                "title": each.title,
                "difficulty": each.difficulty,
                "points": each.possible,
                "prerequisites": list(each.prerequisites),
                "claims": list(each.claims),
            }
            for each in found
        ]
        print(json.dumps(rows, indent=1))
        return
    width = max((len(each.name) for each in found), default=0)
    for each in found:
        head = f"{each.name:<{width}}  {each.difficulty:<6}  {each.possible:>2} points  "
        print("\n".join(hanging(head, each.title, terminal_width())))


@exercise_app.command("show")
def exercise_show(exercise: ExerciseName, student: Student = "", seed: Seed = "") -> None:
    """Print a student's task, and what gives points."""
    from servicelab.grading.catalogue import find_exercise
    from servicelab.grading.sheet import Sheet

    found = find_exercise(exercise)
    sheet = Sheet(found, student, seed)
    width = terminal_width()
    if width:
        from rich.console import Console
        from rich.markdown import Markdown

        Console(width=width).print(Markdown(sheet.task, code_theme="bw"), end="\n\n")
    else:
        print(sheet.task)
    print(f"{found.difficulty}, {found.possible} points, from {', '.join(found.claims)}")
    if found.prerequisites:
        print(f"do first: {', '.join(found.prerequisites)}")
    for each in sheet.criteria:
        print("\n".join(hanging(f"  {each.points:>2}  ", each.says, width)))


@exercise_app.command("start")
def exercise_start(
    exercise: ExerciseName,
    folder: Annotated[
        Path | None, typer.Argument(help="Where; by default a folder of the exercise's name.")
    ] = None,
    student: Student = "",
    seed: Seed = "",
) -> None:
    """Write a student's task.md and the manifests to begin with."""
    from servicelab.grading.catalogue import find_exercise
    from servicelab.grading.note import write_note
    from servicelab.grading.sheet import Sheet

    found = find_exercise(exercise)
    target = folder or Path(found.name)
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{target} is not empty", remedy="name another folder")
    sheet = Sheet(found, student, seed)
    written = sheet.write(found.folder / "starter", target)
    task = target / "task.md"
    task.write_text(sheet.task, encoding="utf-8")
    write_note(sheet, target)
    for path in (task, *written):
        print(path)
    print(f"then: servicelab exercise check {found.name} {target}")


@exercise_app.command("check")
def exercise_check(
    exercise: ExerciseName,
    path: Submitted,
    student: Student = "",
    name: Name = DEFAULT_CLUSTER,
    seed: Seed = "",
) -> None:
    """Grade a submission on a cluster that is kept, and say what changed since the last time.

    Names and numbers are those that `exercise start` wrote beside it. Exit code as of
    `servicelab grade`.
    """
    from servicelab.grading.attempts import Attempts
    from servicelab.grading.catalogue import find_exercise
    from servicelab.grading.note import read_note
    from servicelab.grading.report import text
    from servicelab.grading.running import grade_once
    from servicelab.progress import Progress

    found = find_exercise(exercise)
    note = None if student else read_note(found, path)
    student = note.student if note else student
    graded = grade_once(
        found,
        path,
        student=student,
        seed=seed,
        values=note.values if note else None,
        cluster_name=name,
        keep=True,
        progress=Progress(),
    )
    print(text.render(graded, terminal_width()), end="")
    print(f"  {Attempts(found.name, student).keep(graded)}")
    raise typer.Exit(graded.exit_code)


@exercise_app.command("hint")
def exercise_hint(
    exercise: ExerciseName,
    criterion: Annotated[str, typer.Argument(help="Its id; else all are listed.")] = "",
    path: Annotated[
        Path | None, typer.Argument(help="The student's folder; else one of the exercise's name.")
    ] = None,
    student: Student = "",
    seed: Seed = "",
) -> None:
    """Print the next hint for a criterion: first a question, later nearly the answer."""
    from servicelab.grading.attempts import Attempts
    from servicelab.grading.catalogue import find_exercise
    from servicelab.grading.note import read_note
    from servicelab.grading.sheet import Sheet

    found = find_exercise(exercise)
    note = None if student else read_note(found, path or Path(found.name))
    student = note.student if note else student
    sheet = Sheet(found, student, seed, note.values if note else None)
    hinted = {each.id: each for each in sheet.criteria if each.hints}
    if not criterion:
        for id_, each in hinted.items():
            print(f"{id_}: {len(each.hints)} hints")
        return
    if criterion not in hinted:
        raise UsageError(
            f"there is no hint for {criterion!r}", remedy=f"choose from {', '.join(hinted)}"
        )
    hints = hinted[criterion].hints
    number = Attempts(found.name, student).next_hint(criterion, of=len(hints))
    print(f"{hints[number]} ({number + 1} of {len(hints)})")


@exercise_app.command("new")
def exercise_new(
    exercise: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits and -.")],
    root: Annotated[Path, typer.Option(help="The folder of the exercises.")] = Path("exercises"),
) -> None:
    """Write a new exercise to fill in; it passes `exercise verify` as it stands."""
    from servicelab.grading.skeleton import new_exercise

    folder = new_exercise(exercise, root)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            print(path)


@exercise_app.command("verify")
def exercise_verify(
    exercise: Annotated[
        list[str] | None, typer.Argument(metavar="[EXERCISE]…", help="Names or folders.")
    ] = None,
    all_exercises: Annotated[bool, typer.Option("--all", help="Every exercise.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Only what needs no cluster.")] = False,
    workers: Annotated[int, typer.Option(help="Submissions at the same time.")] = 4,
    name: Name = DEFAULT_CLUSTER,
) -> None:
    """Prove exercises: the starter scores 0, solutions all, wrong answers lose what they should.

    Exit code: 0 all as it should be, 1 not, 3 could not be found out.
    """
    from servicelab.grading.proving import prove_exercises

    if bool(exercise) == all_exercises:
        raise UsageError("name exercises, or say --all", remedy="`servicelab exercise list`")
    raise typer.Exit(
        prove_exercises(exercise or (), cluster_name=name, offline=offline, workers=workers)
    )
