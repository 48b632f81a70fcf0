"""`python -m benchmarks start|requests|bundle|lab|class|table`: measure, print, keep for README."""

from __future__ import annotations

import argparse

from benchmarks import bundle, classroom, lab, requests, start
from benchmarks.figures import HEADER, read_all


def main() -> None:
    """Run one benchmark, or print all that were kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", choices=["start", "requests", "bundle", "lab", "class", "table"])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--plain-runs", type=int, default=5, help="plain kind, in turns with ours")
    options = parser.parse_args()
    if options.what == "start":
        start.run(options.runs, options.plain_runs)
    elif options.what == "requests":
        requests.run(options.runs)
    elif options.what == "bundle":
        bundle.run(options.runs)
    elif options.what == "lab":
        lab.run(options.runs)
    elif options.what == "class":
        classroom.run(options.runs)
    else:
        print(HEADER)
        for figure in read_all():
            print(figure.row())


main()
