"""Differential fuzzer: random small graphs in exporters' styles, edgecc against ONNX Runtime and ONNX's reference.

    python test/fuzz --minutes 5                            # all subjects, one worker
    python test/fuzz --only attention,attention-miss --count 500 --seed 1000 --jobs 2 --save findings
    python test/fuzz --reproduce attention:1234             # one case; or a folder that --save wrote
    python test/fuzz --minimise findings/attention-1234     # makes the folder's model smaller, while it stays what it is

Ends with 1 if a case is wrong or crashes; each is a line with what reproduces it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(Path(__file__).resolve().parent)]

from pool import Worker  # noqa: E402

BAD = ("wrong", "crash")


class Run:
    """Deals cases to workers, counts the verdicts, and prints what is bad."""

    def __init__(self, options: argparse.Namespace, subjects: list[str]):
        self.options, self.subjects = options, subjects
        self.lock, self.next, self.counts, self.bad = threading.Lock(), 0, {s: Counter() for s in subjects}, 0
        self.started = time.monotonic()
        self.log = open(options.log, "a") if options.log else None

    def take(self) -> tuple[str, int] | None:
        with self.lock:
            number = self.next
            seed, subject = self.options.seed + number // len(self.subjects), self.subjects[number % len(self.subjects)]
            late = self.options.minutes and time.monotonic() - self.started > 60 * self.options.minutes
            if late or (self.options.count and number >= self.options.count * len(self.subjects)):
                return None
            self.next += 1
            return subject, seed

    def serve(self) -> None:
        with Worker() as worker:
            while job := self.take():
                self.report(*job, worker.ask(f"{job[0]} {job[1]}"))

    def report(self, subject: str, seed: int, result: dict) -> None:
        with self.lock:
            self.counts[subject][result["verdict"]] += 1
            if self.log:
                print(json.dumps({"case": f"{subject}:{seed}", **result}), file=self.log, flush=True)
            if result["verdict"] not in BAD:
                return
            self.bad += 1
            print(f"{result['verdict'].upper()} {subject}:{seed} ({result['note']}): {result['reason'][:600]}\n"
                  f"  python test/fuzz --reproduce {subject}:{seed}", flush=True)
        if self.options.save:
            from store import save_case
            from subjects import make_case
            save_case(make_case(subject, seed), self.options.save / f"{subject}-{seed}", {k: result[k] for k in ("verdict", "reason")})

    def summary(self) -> str:
        total = sum(self.counts.values(), Counter())
        seconds = time.monotonic() - self.started
        lines = [f"{s}: " + ", ".join(f"{n} {v}" for v, n in sorted(c.items())) for s, c in self.counts.items()]
        lines.append(f"{sum(total.values())} cases in {seconds:.0f} s ({sum(total.values()) / seconds:.1f} a second): "
                     + ", ".join(f"{n} {v}" for v, n in sorted(total.items())))
        return "\n".join(lines)


def fuzz(options: argparse.Namespace) -> int:
    from subjects import SUBJECTS

    subjects = [s for s in options.only.split(",") if s] if options.only else SUBJECTS
    if unknown := [s for s in subjects if s not in SUBJECTS]:
        print(f"--only: there is no {', '.join(unknown)}; there are {', '.join(SUBJECTS)}", file=sys.stderr)
        return 2
    run = Run(options, subjects)
    threads = [threading.Thread(target=run.serve) for _ in range(options.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(run.summary())
    return 1 if run.bad else 0


def reproduce(what: str, save: Path | None) -> int:
    from store import load_case, save_case
    from subjects import make_case

    folder = Path(what)
    job = str(folder) if folder.is_dir() else what.replace(":", " ")
    with Worker() as worker:
        result = worker.ask(job)
    print(json.dumps(result, indent=1))
    case = load_case(folder) if folder.is_dir() else make_case(job.split()[0], int(job.split()[1]))
    if save:
        save_case(case, save, {k: result[k] for k in ("verdict", "reason")})
    import onnx
    print(onnx.printer.to_text(case.model) if len(case.model.graph.node) < 120 else "")
    print("dimensions:", case.dims, "arguments:", case.arguments)
    return 1 if result["verdict"] in BAD else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python test/fuzz")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default 0)")
    parser.add_argument("--count", type=int, default=0, help="seeds of each subject (default: until --minutes are over)")
    parser.add_argument("--minutes", type=float, default=0, help="stop after this time (default: --count alone, or 5)")
    parser.add_argument("--only", default="", metavar="SUBJECT,...", help="these subjects; behind a name -miss: its near misses")
    parser.add_argument("--jobs", type=int, default=1, help="worker processes (default 1)")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write each finding (model, inputs, how to compile) into a folder of DIR")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append a line of JSON for each case")
    parser.add_argument("--reproduce", metavar="SUBJECT:SEED|DIR", help="one case again, and print it")
    parser.add_argument("--minimise", type=Path, metavar="DIR", help="make a saved finding smaller, in place")
    parser.add_argument("--build-dir", type=Path, default=Path(os.environ.get("EDGECC_BUILD_DIR", ROOT / "build")),
                        help="has bin/edgecc and lib/libedgecc_runtime.so (default: $EDGECC_BUILD_DIR, build)")
    options = parser.parse_args()
    build = options.build_dir.resolve()
    os.environ["EDGECC"], os.environ["EDGECC_RUNTIME"] = str(build / "bin/edgecc"), str(build / "lib/libedgecc_runtime.so")
    for needed in ("EDGECC", "EDGECC_RUNTIME"):
        if not Path(os.environ[needed]).exists():
            parser.error(f"{os.environ[needed]} is not built; see --build-dir")
    if options.reproduce:
        return reproduce(options.reproduce, options.save)
    if options.minimise:
        from minimise import minimise
        return minimise(options.minimise)
    if not options.count and not options.minutes:
        options.minutes = 5.0
    return fuzz(options)


if __name__ == "__main__":
    sys.exit(main())
