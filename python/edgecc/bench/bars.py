"""The bars of this machine and of AArch64, one table: what is wanted, what was measured, met or not.

Runs, one after the other, `edgecc-bench` on our artifact, `compare`, `micro`, and tools/dev/aarch64_costs.py; each leaves its report in the
directory, and --reuse takes a report that is there. What cannot be measured here is a row that says why.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..compiler import find_program
from ..errors import EdgeccError

_ROOT = Path(__file__).resolve().parents[3]
_OURS = "edgecc w4g32a8"
_DOT, _I8MM = "arm64-dotprod", "arm64-i8mm"
_CORES = ("n1", "v1", "n2")
_VECTOR, _MATRIX = "1x4096x4096", "128x1024x3072"

# Report, what, the bar. A negative bar is an upper one: no more than that.
Bar = tuple[str, str, float, Callable[[dict[str, Any]], float]]


def _share(threads: int) -> Callable[[dict[str, Any]], float]:
    return lambda report: _row(report, what="decode", threads=threads)["read_share"]["median"]


def _ratio(engines: list[str], **row: Any) -> Callable[[dict[str, Any]], float]:
    """Over the fastest of some engines, of which one is enough."""

    def value(report: dict[str, Any]) -> float:
        found = [r["ratio"]["median"] for r in report["results"]
                 if r["engine"] in engines and all(r.get(key) == wanted for key, wanted in row.items())]
        if not found:
            raise KeyError(f"no {' or '.join(engines)} in the comparison: {'; '.join(report['notes']) or 'it was not asked for'}")
        return min(found)

    return value


def _cost(weights: str, shape: str, variant: str) -> Callable[[dict[str, Any]], float]:
    return lambda report: _row(report, weights=weights, shape=shape, variant=variant)["instructions_per_mac"]


def _cycles(weights: str, shape: str, variant: str, core: str) -> Callable[[dict[str, Any]], float]:
    """Over those of the best other, to the two digits that are known of it."""

    def value(report: dict[str, Any]) -> float:
        row = _row(report, weights=weights, shape=shape, variant=variant)
        others = [cycles[_CORES.index(core)] for cycles in row["others_cycles"].values() if cycles[_CORES.index(core)]]
        ours = row["cycles_per_mac"][f"neoverse-{core}"]
        if not others or not ours:
            raise KeyError(f"no other's cycles are known for {core}")
        return float(f"{ours:.2g}") / float(f"{min(others):.2g}")

    return value


def _million(what: str, variant: str) -> Callable[[dict[str, Any]], float]:
    return lambda report: _row(report, what=what, variant=variant)["instructions_per_token"] / 1e6


def _row(report: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    for row in report["results"]:
        if all(row.get(key) == value for key, value in wanted.items()):
            return row
    raise KeyError(f"nothing was measured for {', '.join(str(value) for value in wanted.values())}")


def bars(threads: list[int]) -> list[Bar]:
    flash = [["llama.cpp " + kind, f"llama.cpp {kind} no-flash"] for kind in ("Q4_0", "Q4_K_M")]
    rows: list[Bar] = []
    for t in threads:
        rows.append(("model", f"decode, share of the read bandwidth, {t} threads", 0.85 if t == 1 else 0.80, _share(t)))
        rows.append(("compare", f"decode over llama.cpp Q4_0, {t} threads", 1.35, _ratio(flash[0], what="decode", context=16, threads=t)))
        for tokens in (128, 512):
            rows.append(("compare", f"prefill {tokens} over llama.cpp, {t} threads", 2.0,
                         _ratio(flash[0] + flash[1], what="prefill", tokens=tokens, threads=t)))
        rows.append(("compare", f"decode over ONNX Runtime int4, {t} threads", 1.3,
                     _ratio(["onnxruntime int4"], what="decode", context=16, threads=t)))
        rows.append(("compare", f"prefill 128 over ONNX Runtime int4, {t} threads", 2.0,
                     _ratio(["onnxruntime int4"], what="prefill", tokens=128, threads=t)))
    rows.append(("micro", f"int4 matrix {_MATRIX}, share of the peak", 0.70, lambda report: _row(report, m=128)["share"]["median"]))
    for weights, shape, variant, bar in (("w4g32a8", _VECTOR, _DOT, 0.20), ("w4g32a8", _MATRIX, _DOT, 0.105),
                                         ("w4g32a8", _MATRIX, _I8MM, 0.085), ("w8a8", _VECTOR, _DOT, 0.155),
                                         ("w8a8", _MATRIX, _DOT, 0.082), ("w8a8", _MATRIX, _I8MM, 0.054)):
        rows.append(("kernels", f"{weights} {shape} {variant}, instructions per MAC", -bar, _cost(weights, shape, variant)))
    for weights, shape, variant in (("w4g32a8", _VECTOR, _DOT), ("w4g32a8", _MATRIX, _DOT), ("w4g32a8", _MATRIX, _I8MM),
                                    ("w8a8", _VECTOR, _DOT), ("w8a8", _MATRIX, _I8MM)):
        for core in _CORES[1:] if variant == _I8MM else _CORES:
            rows.append(("kernels", f"{weights} {shape} {variant}, cycles on {core} over the best other's", -1.0,
                         _cycles(weights, shape, variant, core)))
    for what, variant, bar in (("decode", _DOT, 135), ("prefill", _I8MM, 45)):
        rows.append(("whole", f"{what} {variant}, million instructions per token", -bar, _million(what, variant)))
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, help="made by `models`; the reports go there, too")
    parser.add_argument("--threads", default="1,2", metavar="N,...")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", metavar="REPORT,...", help="of model, compare, micro, kernels, whole (default: all)")
    parser.add_argument("--reuse", action="store_true", help="reports that are there are not made again")
    parser.add_argument("--costs", type=Path, default=_ROOT / "tools/dev/aarch64_costs.py", help="the program that counts AArch64 instructions")


def _commands(a: argparse.Namespace) -> dict[str, list[Any]]:
    us = [sys.executable, "-m", "edgecc.bench"]
    measured = ["--threads", a.threads, "--rounds", a.rounds]
    return {
        "model": [find_program("edgecc-bench", None), a.directory / "edgecc-w4g32a8.edge", *measured, "--decode", 16, "--prefill", 128],
        "compare": [*us, "compare", a.directory, *measured, "--base", _OURS, "--decode", 16],
        "micro": [*us, "micro", "--shape", _MATRIX, "--weights", "w4g32a8", "--rounds", a.rounds],
        "kernels": [sys.executable, a.costs, "--weights", "w4g32a8,w8a8", "--variant", f"{_DOT},{_I8MM}"],
        "whole": [sys.executable, a.costs, "--model", "qwen3-0.6b", "--quant", "w4g32a8", "--vocabulary", 151936, "--variant",
                  f"{_DOT},{_I8MM}"],
    }


def run(a: argparse.Namespace) -> int:
    chosen = a.only.split(",") if a.only else ["model", "compare", "micro", "kernels", "whole"]
    reports: dict[str, dict[str, Any] | str] = {}
    commands = _commands(a)
    for name in chosen:
        if name not in commands:
            raise EdgeccError(f"--only {name}: the reports are {', '.join(commands)}")
        path = a.directory / f"bars-{name}.json"
        if not (a.reuse and path.exists()):
            path.unlink(missing_ok=True)
            print(f"... {name}", file=sys.stderr, flush=True)
            done = subprocess.run([*map(str, commands[name]), "--json", str(path)], capture_output=True, text=True)
            if done.returncode or not path.exists():
                reports[name] = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
                continue
        reports[name] = json.loads(path.read_text())
    rows = [row for row in bars([int(t) for t in a.threads.split(",")]) if row[0] in chosen]
    print(f"{'bar':74} {'wanted':>9} {'measured':>9}")
    met = 0
    for name, what, bar, measure in rows:
        wanted = f"{'<=' if bar < 0 else '>='} {abs(bar):g}"
        report = reports[name]
        try:
            if isinstance(report, str):
                raise KeyError(report)
            value = measure(report)
        except KeyError as reason:
            print(f"{what:74} {wanted:>9} {'-':>9}  skipped: {reason.args[0]}")
            continue
        good = value <= -bar if bar < 0 else value >= bar
        met += good
        print(f"{what:74} {wanted:>9} {value:>9.3f}  {'met' if good else 'NOT MET'}")
    print(f"{met} of {len(rows)} met")
    return 0
