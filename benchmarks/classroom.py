"""A class: thirty submissions of one exercise, and single ones on a cluster that is kept."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path

from benchmarks.figures import Figure, write
from servicelab.grading.catalogue import find_exercise
from servicelab.grading.sheet import Sheet
from servicelab.grading.verifying import cases

STUDENTS = 30
EXERCISE = "mend-the-selector"
COMMAND = str(Path(sys.executable).with_name("servicelab"))
#: Of `servicelab grade`: full marks, fewer.
GRADED = (0, 1)


def run(runs: int) -> None:
    """Time the whole commands, as a teacher types them; right and wrong answers take turns."""
    exercise = find_exercise(EXERCISE)
    name = os.environ.setdefault("SERVICELAB_CLUSTER", "bench-class")
    whole = Figure(
        f"`servicelab grade-all`, {STUDENTS} submissions of one exercise, from no cluster",
        target=240,
    )
    single = Figure("`servicelab grade`, one submission on a kept cluster", target=20)
    with tempfile.TemporaryDirectory() as folder:
        submissions = Path(folder, "submissions")
        students = [f"s{number:02}" for number in range(1, STUDENTS + 1)]
        for student, case in zip(students, cycle(cases(exercise)), strict=False):
            Sheet(exercise, student).write(case.folder, submissions / student)
        with whole.timed():
            subprocess.run(
                [COMMAND, "grade-all", str(submissions), f"--exercise={EXERCISE}",
                 f"--results={Path(folder, 'grades')}"],
                check=True,
            )  # fmt: skip
        subprocess.run([COMMAND, "up", f"--cluster-name={name}"], check=True)
        for student in islice(cycle(students), runs):
            with single.timed():
                ended = subprocess.run(
                    [COMMAND, "grade", EXERCISE, str(submissions / student), "--student", student]
                )
            if ended.returncode not in GRADED:
                sys.exit(f"it ended with {ended.returncode}: no figures")
        subprocess.run([COMMAND, "down", f"--cluster-name={name}"], check=True)
    write("class", [single, whole])
