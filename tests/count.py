"""count.py TESTLOG: prints how many tests passed, failed and were skipped, from the log that meson test writes.

A program written with check says how many tests it ran, and counts as that many; any other program counts as one.
A program that fails without a failed test of its own (a crash, a leak, a timeout) counts as one failure more, and so does one
whose kernels were compiled with warnings: the driver prints them into an application's output.
"""
import json
import re
import sys

CHECK_SUMMARY = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)$", re.MULTILINE)
KERNEL_WARNINGS = re.compile(r"^\d+ warnings? generated", re.MULTILINE)

passed = failed = skipped = 0
for line in open(sys.argv[1], encoding="utf-8"):
    test = json.loads(line)
    runs = [tuple(map(int, numbers)) for numbers in CHECK_SUMMARY.findall(test.get("stdout", ""))]
    bad = sum(failures + errors for _, failures, errors in runs)
    good = sum(checks for checks, _, _ in runs) - bad
    if test["result"] == "SKIP":
        skipped += 1
    elif test["result"] in ("OK", "EXPECTEDFAIL"):
        passed += good or 1
    else:
        passed += good
        failed += bad or 1
    if KERNEL_WARNINGS.search(test.get("stdout", "") + test.get("stderr", "")):
        failed += 1
        print(f"{test['name']}: warnings of the kernels' compiler", file=sys.stderr)
print(passed, failed, skipped)
