"""A process that makes, compiles, runs and judges cases; it may die, and then its case has crashed.

Reads "SUBJECT SEED" or a folder from each line of standard input, and answers with a line of JSON: verdict, reason, note, seconds.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import device
from graph import Case, Rejected
from oracle import Oracle
from store import load_case
from subjects import SUBJECTS, make_case


def judge(case: Case, program: Path, folder: Path) -> tuple[str, str]:
    """The verdict (equal, ran, refused, wrong, crash) and its reason."""
    try:
        oracle = Oracle(case)
        artifact = device.compile_case(case, program, folder)
        results = device.run_case(case, artifact)
        if oracle.expected is None:
            return "ran", oracle.refusal.splitlines()[0][:300] if oracle.refusal else ""
        problem = oracle.judge(results)
        return ("wrong", problem) if problem else ("equal", "")
    except device.Verdict as verdict:
        return verdict.kind, verdict.reason


def answer(job: str, program: Path, folder: Path) -> dict[str, object]:
    started = time.monotonic()
    words = job.split()
    try:
        case = make_case(words[0], int(words[1])) if words[0] in SUBJECTS else load_case(Path(job))
    except Rejected as reason:
        return {"verdict": "skipped", "reason": str(reason), "note": "", "seconds": 0.0}
    verdict, reason = judge(case, program, folder)
    return {"verdict": verdict, "reason": reason, "note": case.note, "seconds": time.monotonic() - started}


def main() -> int:
    program = Path(os.environ["EDGECC"])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    np.seterr(all="ignore")
    with tempfile.TemporaryDirectory(prefix="edgecc-fuzz-") as folder:
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(line.strip(), program, Path(folder))), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
