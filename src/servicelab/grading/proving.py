"""`servicelab exercise verify`: lint, then every submission that exercises bring, on a cluster."""

from __future__ import annotations

from collections.abc import Sequence

from servicelab.grading.catalogue import all_exercises, find_exercise
from servicelab.grading.exercise import Exercise
from servicelab.grading.lint import problems
from servicelab.grading.results import Outcome
from servicelab.grading.running import grading_cluster
from servicelab.grading.verifying import Verified, cases, verify


def prove_exercises(
    names: Sequence[str], *, cluster_name: str, offline: bool = False, workers: int = 4
) -> int:
    """Prove exercises, and print what was found.

    Args:
        names: names or folders; none for all.
        cluster_name: where; a cluster that is not there is made, and deleted again.
        offline: only what needs no cluster.
        workers: submissions at the same time.

    Returns:
        The exit code: 0 all as it should be, 1 not, 3 could not be found out.

    Raises:
        UsageError: there is no such exercise, or it can't be used.
        InfrastructureError: there is no cluster to be had.
    """
    from servicelab.progress import Progress

    chosen = [find_exercise(name) for name in names] if names else all_exercises()
    sound = [_linted(each) for each in chosen]
    if offline:
        return 0 if all(sound) else 1
    from servicelab.grading.grader import Grader

    todo = [case for each in chosen for case in cases(each)]
    done: list[Verified] = []
    with (
        grading_cluster(cluster_name, keep=False, progress=Progress()) as cluster,
        Grader(cluster) as grader,
    ):
        for each in verify(grader, todo, workers=workers):
            done.append(each)
            _print(each, len(done), len(todo))
    wrong = [each for each in done if each.problems]
    unknown = [each for each in wrong if each.grade.outcome is Outcome.NOT_GRADED]
    print(f"{len(done) - len(wrong)} of {len(done)} submissions got what they should")
    if unknown:
        return 3
    return 0 if all(sound) and not wrong else 1


def _linted(exercise: Exercise) -> bool:
    found = problems(exercise)
    for problem in found:
        print(f"{exercise.name}: {problem}")
    return not found


def _print(verified: Verified, number: int, of: int) -> None:
    grade = verified.grade
    score = "refused" if grade.outcome is Outcome.REFUSED else f"{grade.score}/{grade.possible}"
    if grade.outcome is Outcome.NOT_GRADED:
        score = "?"
    mark = "WRONG" if verified.problems else "ok"
    print(
        f"[{number:>3}/{of}] {mark:<5} {score:>7}  {verified.case}  {grade.seconds:.1f} s",
        flush=True,
    )
    for problem in verified.problems:
        print(f"          {problem}", flush=True)
