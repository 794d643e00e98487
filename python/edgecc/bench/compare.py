"""Our artifact beside other engines with the same weights, in turn, in one run; ratios sample by sample.

Each engine sits in a process of its own and waits while another is timed. A round asks all of them the same question one after the
other, so a slow minute of the machine slows all of them, and a ratio of neighbours in time is worth more than one of two best times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..errors import EdgeccError

HERE = Path(__file__).resolve().parent
# Threads that spin while another engine is timed would be its neighbours; what an engine does during its own turn is not changed.
_PAUSE = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, help="made by `models`")
    parser.add_argument("--threads", default="1,2", metavar="N,...")
    parser.add_argument("--prefill", default="128,512", metavar="TOKENS,...")
    parser.add_argument("--decode", default="16,512", metavar="CONTEXT,...")
    parser.add_argument("--decode-tokens", type=int, default=16, help="in a sample")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", metavar="NAME,...", help="of models.json, e.g. 'edgecc w4g32a8,llama.cpp Q4_0'")
    parser.add_argument("--base", metavar="NAME", help="whose speed is divided by the others' (default: the first of ours)")
    parser.add_argument("--json", type=Path, help="write every sample into this file")


class Worker:
    def __init__(self, python: str, model: dict[str, Any], folder: Path, threads: int, context: int):
        self.name = model["name"]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
        self.process = subprocess.Popen([python, HERE / "worker.py", model["engine"], folder / model["path"], str(threads), str(context),
                                         *model.get("settings", [])],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdin and self.process.stdout  # pipes, as was asked for
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.hello = self._read()

    def _read(self) -> dict[str, Any]:
        line = self.stdout.readline()
        if not line:
            raise EdgeccError(f"{self.name} ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, **question: Any) -> dict[str, Any]:
        self.stdin.write(json.dumps(question) + "\n")
        self.stdin.flush()
        return self._read()

    def close(self) -> None:
        self.stdin.close()
        self.process.wait()


def summary(samples: list[float]) -> dict[str, Any]:
    low, high = (min(samples), max(samples)) if len(samples) < 3 else statistics.quantiles(samples, n=4, method="inclusive")[::2]
    return {"median": statistics.median(samples), "low": low, "high": high, "best": min(samples), "samples": samples}


def agreement(a: dict[str, Any], b: dict[str, Any]) -> float:
    """Correlation of two engines' logits: near 1 if both compute the same model, less for fewer bits, near 0 if one is wrong."""
    x, y = a["probe"], b["probe"]
    return statistics.correlation(x, y) if len(x) == len(y) else float("nan")


def _measure(workers: list[Worker], questions: list[dict[str, Any]], rounds: int) -> dict[tuple[int, str], list[float]]:
    samples: dict[tuple[int, str], list[float]] = {}
    for turn in range(-1, rounds):  # the first only warms up
        for number, question in enumerate(questions):
            first = turn % len(workers)
            for worker in workers[first:] + workers[:first]:
                seconds = worker.ask(**question)["seconds"]
                if turn >= 0:
                    samples.setdefault((number, worker.name), []).append(seconds)
                time.sleep(_PAUSE)
    return samples


def run(a: argparse.Namespace) -> int:
    listing = a.directory / "models.json"
    if not listing.exists():
        raise EdgeccError(f"{listing}: not there; make it with: python3 -m edgecc.bench models {a.directory}")
    made = json.loads(listing.read_text())
    chosen = [m for m in made["models"] if not a.only or m["name"] in a.only.split(",")]
    base = a.base or next((m["name"] for m in chosen if m["engine"] == "edgecc"), "")
    if base not in [m["name"] for m in chosen]:
        raise EdgeccError(f"--base {base}: the models are {', '.join(m['name'] for m in chosen) or 'none'}")
    contexts, prefills = [int(c) for c in a.decode.split(",")], [int(p) for p in a.prefill.split(",")]
    longest = max(contexts + prefills)
    if longest > made["context"]:
        raise EdgeccError(f"{longest} tokens are asked for, but the models were made for a context of {made['context']}")
    questions = [{"do": "prefill", "tokens": p} for p in prefills] + [
        {"do": "decode", "context": c, "tokens": a.decode_tokens} for c in contexts]
    notes, rows, versions, agreements = list(made["skipped"]), [], {}, {}
    for sentence in made["skipped"]:
        print(f"SKIPPED: {sentence}", file=sys.stderr)
    for threads in [int(t) for t in a.threads.split(",")]:
        workers = []
        try:
            for model in chosen:
                python = made["llama_python"] if model["engine"] == "llama.cpp" else sys.executable
                worker = Worker(python, model, a.directory, threads, longest)
                if "missing" in worker.hello:
                    worker.close()
                    sentence = f"{model['name']}: {worker.hello['missing']}"
                    print(f"SKIPPED: {sentence}", file=sys.stderr)
                    if sentence not in notes:
                        notes.append(sentence)
                    continue
                versions[model["name"]] = worker.hello["version"]
                workers.append(worker)
            if not any(w.name == base for w in workers):
                raise EdgeccError(f"{base} cannot be run: {'; '.join(notes)}")
            answers = {w.name: w.ask(do="logits", ids=list(range(1, min(32, longest) + 1))) for w in workers}
            agreements = {name: agreement(answers[base], given) for name, given in answers.items()}
            samples = _measure(workers, questions, a.rounds)
        finally:
            for worker in workers:
                worker.close()
        for number, question in enumerate(questions):
            ours = samples[number, base]
            for worker in workers:
                theirs = samples[number, worker.name]
                tokens = question["tokens"] if question["do"] == "prefill" else 1
                size = {"tokens": question["tokens"]} if question["do"] == "prefill" else {"context": question["context"]}
                rows.append({"what": question["do"], **size, "threads": threads, "engine": worker.name, "seconds": summary(theirs),
                             "tokens_per_second": tokens / statistics.median(theirs),
                             "ratio": summary([t / o for t, o in zip(theirs, ours)])})
    report = {"format": "edgecc-bench compare 1", "model": {k: made[k] for k in ("preset", "shape", "context")}, "base": base,
              "engines": {m["name"]: {"version": versions[m["name"]], "bytes": m["bytes"], "agreement": agreements[m["name"]]}
                          for m in chosen if m["name"] in versions}, "results": rows, "notes": notes}
    print_table(report)
    if a.json:
        a.json.write_text(json.dumps(report, indent=1))
    return 0


def print_table(report: dict[str, Any]) -> None:
    base = report["base"]
    for name, engine in report["engines"].items():
        print(f"{name:24} {engine['version']:44} {engine['bytes'] / 1e6:8.1f} MB   logits agree with {base}: {engine['agreement']:.4f}")
    print(f"\n{'':14} {'threads':>7} {'engine':24} {'tokens/s':>10} {base + ' is faster by':>32}")
    for row in report["results"]:
        title = f"prefill {row['tokens']}" if row["what"] == "prefill" else f"decode at {row['context']}"
        ratio = row["ratio"]
        text = "" if row["engine"] == base else f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
        print(f"{title:14} {row['threads']:>7} {row['engine']:24} {row['tokens_per_second']:>10.1f} {text:>32}")
    for note in report["notes"]:
        print(f"skipped: {note}")
