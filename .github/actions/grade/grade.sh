#!/usr/bin/env bash
# Grades, and tells GitHub: the job's summary, the step's outputs, one annotation.
# The argument is servicelab's command; the rest comes from the environment, see action.yml.
set -uo pipefail
servicelab=$1

mkdir -p "$RESULTS"
"$servicelab" grade "$EXERCISE" "$SUBMISSION" --student "$STUDENT" \
    --json "$RESULTS/grade.json" --junit "$RESULTS/grade.xml" \
    --markdown "$RESULTS/grade.md" --html "$RESULTS/grade.html"
status=$?

if [[ -f $RESULTS/grade.md ]]; then
    cat "$RESULTS/grade.md" >>"$GITHUB_STEP_SUMMARY"
fi
if [[ -f $RESULTS/grade.json ]]; then
    # The only words of a grade that go into outputs are ours: an outcome, and numbers.
    python3 - "$RESULTS/grade.json" >>"$GITHUB_OUTPUT" <<'PYTHON'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    grade = json.load(file)
print(f"outcome={grade['outcome']}")
print(f"score={'' if grade['score'] is None else grade['score']}")
print(f"possible={grade['possible']}")
PYTHON
fi
case $status in
0) ;;
1) echo "::error title=Not yet::Some criteria are not met; the job's summary says why." ;;
4) echo "::error title=Refused::The submission breaks a rule; the job's summary says which." ;;
*) echo "::warning title=Could not grade::This costs no points; run the job again." ;;
esac
exit "$status"
