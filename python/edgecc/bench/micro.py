"""Every kind of weights at some shapes: GB/s, GMAC/s, and the share of the limit measured in the same run."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from ..errors import EdgeccError
from .layers import RECIPES, build, measure, recipes_of_table

_TABLE = Path(__file__).resolve().parents[3] / "passes/kernels/kernels.def"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shape", action="append", metavar="MxKxN", help="may be repeated (default: 1x4096x4096, 128x1024x3072)")
    parser.add_argument("--weights", metavar="KIND,...", help=f"of {', '.join(RECIPES)} (default: what the kernel table has rows for)")
    parser.add_argument("--threads", default="1", metavar="N,...")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--target", help="of edgecc, e.g. x86-64-v3 (default: host)")
    parser.add_argument("--json", type=Path, help="write all rows into this file")


def run(a: argparse.Namespace) -> int:
    shapes = [tuple(map(int, s.split("x"))) for s in a.shape or ["1x4096x4096", "128x1024x3072"]]
    wanted = a.weights.split(",") if a.weights else recipes_of_table(_TABLE)
    for kind in wanted:
        if kind not in RECIPES:
            raise EdgeccError(f"--weights {kind}: there are {', '.join(RECIPES)}")
    rows, missing, machine = [], [], None
    print(f"{'weights':9} {'shape':16} {'threads':>7} {'ms':>10} {'+-':>6} {'GB/s':>7} {'GMAC/s':>8} {'bound':>11} {'share':>6}")
    for kind in wanted:
        for m, k, n in shapes:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    # Decoding is compiled for one row, a prompt for any number.
                    artifact = build(Path(folder), k, n, kind, rows=1 if m == 1 else None, **({"target": a.target} if a.target else {}))
                except EdgeccError as error:
                    missing.append(f"{kind} {m}x{k}x{n}: {str(error).splitlines()[0]}")
                    continue
                report = measure(artifact, [m], [int(t) for t in a.threads.split(",")], a.rounds)
            machine = report["machine"]
            for row in report["results"]:
                rows.append({"weights": kind, **row})
                print(f"{kind:9} {row['m']}x{k}x{n:<10} {row['threads']:>7} {row['seconds']['median'] * 1e3:>10.3f} {row['spread']:>6.1%} "
                      f"{row['weights_bytes_per_second'] / 1e9:>7.1f} {row['macs_per_second'] / 1e9:>8.1f} {row['bound']:>11} "
                      f"{row['share']['median']:>6.0%}", flush=True)
    for line in missing:
        print(f"not measured: {line}", file=sys.stderr)
    if a.json:
        a.json.write_text(json.dumps({"format": "edgecc-bench micro 1", "machine": machine, "results": rows, "notes": missing}, indent=1))
    return 0 if rows else 1
