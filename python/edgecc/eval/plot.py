"""Reports of matrix and tables as pictures: the error of each layer that a recipe rounded or cut, and size against divergence."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..bench.plot import COLORS, pyplot, save
from ..errors import EdgeccError

Report = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reports", type=Path, nargs="+", help="JSON of matrix: two pictures each, side by side")
    parser.add_argument("-o", "--output", type=Path, required=True, help="its ending says the format: .svg, .png, .pdf")


def cost(row: Report) -> float | None:
    """What a recipe costs: divergence where there is a text, else the share of other answers."""
    if "text" in row:
        return row["text"].get("kl_mean")
    shares = [1 - figures["same"] for figures in row.get("accuracy", {}).values() if "same" in figures]
    return max(shares) if shares else None


def frontier(points: list[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Those (size, cost, name) than which none is both smaller and better, by size."""
    best: list[tuple[float, float, str]] = []
    for point in sorted(points):
        if not best or point[1] < best[-1][1]:
            best.append(point)
    return best


def _layers(axes: Any, report: Report) -> None:
    rows = [row for row in report["rows"] if row.get("ledger")]
    for i, row in enumerate(rows):
        axes.plot([entry["relative_error"] for entry in row["ledger"]], ".-", color=COLORS[i % len(COLORS)], linewidth=0.7, markersize=3,
                  label=row["recipe"])
    axes.set(yscale="log", xlabel="layer, in the order of the model", ylabel="relative error", title=f"{report['model']}: error by layer")
    if rows:
        axes.legend(fontsize=6)


def _pareto(axes: Any, report: Report) -> None:
    points = [(row["file_bytes"] / 1e6, value, row["recipe"]) for row in report["rows"] if "refused" not in row and (value := cost(row))]
    for i, (size, value, name) in enumerate(points):
        axes.plot([size], [value], "o", color=COLORS[i % len(COLORS)], markersize=4)
        axes.annotate(name, (size, value), textcoords="offset points", xytext=(5, 3), fontsize=6)
    best = frontier(points)
    axes.step([p[0] for p in best], [p[1] for p in best], "--", where="post", color="#777777", linewidth=0.8)
    text = any("text" in row for row in report["rows"])
    axes.set(xlabel="MB", ylabel="KL to f32, nats" if text else "share of other answers", title=f"{report['model']}: size and cost")
    if points:
        axes.set_yscale("log")


def run(a: argparse.Namespace) -> int:
    plt = pyplot()
    reports = []
    for path in a.reports:
        report = json.loads(path.read_text())
        if report.get("format") != "edgecc.eval matrix 1":
            raise EdgeccError(f"{path}: not a report of edgecc.eval matrix")
        reports.append(report)
    figure, axes = plt.subplots(len(reports), 2, figsize=(11, 3.5 * len(reports)), squeeze=False)
    for (left, right), report in zip(axes, reports):
        _layers(left, report)
        _pareto(right, report)
    save(figure, a.output)
    return 0
