#!/usr/bin/env bash
# Grades, and tells GitHub: the job's summary, the step's outputs, one annotation.
# The argument is the environment that servicelab is in; the rest is told by variables, see action.yml.
set -uo pipefail
environment=$1

mkdir -p "$RESULTS"
# What lies there already may be the student's: their repository may be checked out here.
rm -f "$RESULTS"/grade.{json,xml,md,html} "$RESULTS"/autograding.json

# A line of a submission that looks like one of GitHub's commands is only a line.
token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
echo "::stop-commands::$token"
"$environment/bin/servicelab" grade "$EXERCISE" "$SUBMISSION" --student "$STUDENT" \
    --json "$RESULTS/grade.json" --junit "$RESULTS/grade.xml" \
    --markdown "$RESULTS/grade.md" --html "$RESULTS/grade.html" \
    --autograding "$RESULTS/autograding.json"
status=$?
echo "::$token::"

if [[ -f $RESULTS/grade.md ]]; then
    cat "$RESULTS/grade.md" >>"$GITHUB_STEP_SUMMARY"
fi
if [[ -f $RESULTS/grade.json ]]; then
    # The only words of a grade that go into outputs are ours: an outcome, and numbers; and what
    # GitHub Classroom reads, in Base64. -I: no module comes from the folder that this runs in.
    "$environment/bin/python" -I - "$RESULTS" >>"$GITHUB_OUTPUT" <<'PYTHON'
import base64
import json
import sys
from pathlib import Path

results = Path(sys.argv[1])
grade = json.loads((results / "grade.json").read_text(encoding="utf-8"))
print(f"outcome={grade['outcome']}")
print(f"score={'' if grade['score'] is None else grade['score']}")
print(f"possible={grade['possible']}")
print(f"result={base64.b64encode((results / 'autograding.json').read_bytes()).decode()}")
PYTHON
fi
case $status in
0) ;;
1) echo "::error title=Not yet::Some criteria are not met; the job's summary says why." ;;
4) echo "::error title=Refused::The submission breaks a rule; the job's summary says which." ;;
*) echo "::warning title=Could not grade::This costs no points; run the job again." ;;
esac
exit "$status"
