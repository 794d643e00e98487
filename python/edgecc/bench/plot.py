"""Reports as pictures: shares of the machine's limits (edgecc-bench, micro) and ratios to other engines (compare)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..errors import EdgeccError

COLORS = ["#3366aa", "#dd7711", "#339955", "#aa3377", "#777777", "#22aaaa", "#bbaa33"]
_MARKERS = ["o", "^", "s"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reports", type=Path, nargs="+", help="JSON of edgecc-bench, micro or compare: one picture each, side by side")
    parser.add_argument("-o", "--output", type=Path, required=True, help="its ending says the format: .svg, .png, .pdf")


def _title(row: dict[str, Any]) -> str:
    if row["what"] == "linear":
        return f"{row.get('weights', '')} {row['m']}x{row['k']}x{row['n']}".strip()
    return f"decode at {row['context']}" if row["what"] == "decode" else f"{row['what']} {row.get('tokens', '')}".strip()


def _threads(count: int) -> str:
    return f"{count} thread" + "s" * (count > 1)


def _roofline(axes: Any, report: dict[str, Any]) -> None:
    """Multiply-adds per byte of weights against multiply-adds per second, under the limits of the same run."""
    rows = [r for r in report["results"] if r["what"] == "linear"]
    # Limits and layers of the first thread count; others would need roofs of their own.
    threads = min(r["threads"] for r in rows)
    rows = [r for r in rows if r["threads"] == threads]
    limit = next(x for x in report["machine"]["limits"] if x["threads"] == threads)
    read = limit["read_bytes_per_second"]["median"]
    xs = [r["m"] * r["k"] * r["n"] / r["weight_bytes"] for r in rows]
    low, high = min(xs) / 2, max(xs) * 2
    for kind, style in (("int8", "-"), ("f32", "--")):
        peak = limit[f"{kind}_macs_per_second"]["median"] or next(
            (r["share"]["median"] and r["macs_per_second"] / r["share"]["median"] for r in rows
             if r["arithmetic"] == kind and r["bound"] == "arithmetic"), 0)
        if peak:
            knee = peak / read
            axes.plot([low, max(low, knee), max(high, knee)], [low * read / 1e9, max(low * read, peak) / 1e9, peak / 1e9], style,
                      color="#444444", linewidth=1, label=f"limit: {kind}, {read / 1e9:.0f} GB/s")
    for i, kind in enumerate(dict.fromkeys(r.get("weights", r["arithmetic"]) for r in rows)):
        points = [(x, r) for x, r in zip(xs, rows) if r.get("weights", r["arithmetic"]) == kind]
        axes.plot([x for x, _ in points], [r["macs_per_second"] / 1e9 for _, r in points], _MARKERS[i // len(COLORS) % len(_MARKERS)],
                  color=COLORS[i % len(COLORS)], label=kind)
        for x, r in points:
            axes.annotate(f"{r['share']['median']:.0%}", (x, r["macs_per_second"] / 1e9), textcoords="offset points", xytext=(6, -3),
                          fontsize=7)
    axes.set(xscale="log", yscale="log", xlabel="multiply-adds per byte of weights", ylabel="GMAC/s",
             title=f"Layers under their limit, {_threads(threads)}")
    axes.legend(fontsize=6, loc="upper left")


def _shares(axes: Any, report: dict[str, Any]) -> None:
    rows = [r for r in report["results"] if "read_share" in r]
    if not rows:
        raise EdgeccError("the report has no decode row, and nothing else has a share of a limit")
    names = [f"{_title(r)}, {_threads(r['threads'])}" for r in rows]
    shares = [r["read_share"] for r in rows]
    _bars(axes, names, [s["median"] for s in shares], [s["low"] for s in shares], [s["high"] for s in shares], [COLORS[0]] * len(rows))
    axes.set(xlabel="weights read, share of a plain read", title="Decode under the memory's limit")


def _ratios(axes: Any, report: dict[str, Any]) -> None:
    base = report["base"]
    rows = [r for r in report["results"] if r["engine"] != base]
    engines = list(dict.fromkeys(r["engine"] for r in rows))
    rows.sort(key=lambda r: (r["what"] == "decode", r.get("tokens", r.get("context")), r["threads"], engines.index(r["engine"])))
    names = [f"{_title(r)}, {_threads(r['threads'])}: {r['engine']}" for r in rows]
    ratios = [r["ratio"] for r in rows]
    # Twice as fast and half as fast are equally far from 1.
    for place, (row, x) in enumerate(zip(reversed(rows), reversed(ratios))):
        color = COLORS[engines.index(row["engine"]) % len(COLORS)]
        axes.plot([x["low"], x["high"]], [place, place], color=color, linewidth=1)
        axes.plot([x["median"]], [place], "o", color=color, markersize=4)
        axes.annotate(f"{x['median']:.2f}", (x["high"], place), textcoords="offset points", xytext=(4, -2), fontsize=6)
    axes.axvline(1, color="#444444", linewidth=1)
    axes.set_yticks(range(len(names)), names[::-1], fontsize=7)
    axes.set_xscale("log", base=2)
    low, high = min(0.9, *(x["low"] for x in ratios)), max(1.1, *(x["high"] for x in ratios))
    ticks = [t for t in (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 16, 32) if low * 0.9 <= t <= high * 1.1]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_xlim(low * 0.95, high * 1.15)
    axes.set(xlabel=f"{base} is faster by", title=f"Against others, {report['model']['preset']}")


def _bars(axes: Any, names: list[str], values: list[float], low: list[float], high: list[float], colors: list[str]) -> None:
    places = list(range(len(names)))[::-1]
    errors = [[max(0.0, v - a) for v, a in zip(values, low)], [max(0.0, b - v) for v, b in zip(values, high)]]
    axes.barh(places, values, xerr=errors, color=colors, error_kw={"linewidth": 0.8})
    axes.set_yticks(places, names, fontsize=7)
    axes.set_xlim(left=0)


_KINDS = {"edgecc-bench micro 1": _roofline, "edgecc-bench 1": _shares, "edgecc-bench compare 1": _ratios}


def pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise EdgeccError("plots need matplotlib: pip install matplotlib") from None
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "edgecc"  # the same numbers give the same file
    matplotlib.rcParams["svg.fonttype"] = "none"  # text as text: a small file
    import matplotlib.pyplot as plt

    return plt


def save(figure: Any, output: Path) -> None:
    figure.tight_layout()
    figure.savefig(output, metadata={"Date": None} if output.suffix == ".svg" else None)
    if output.suffix == ".svg":
        # Without matplotlib's trailing blanks, which no repository wants.
        output.write_text("".join(line.rstrip() + "\n" for line in output.read_text().splitlines()))


def run(a: argparse.Namespace) -> int:
    plt = pyplot()
    reports = []
    for path in a.reports:
        report = json.loads(path.read_text())
        if report.get("format") not in _KINDS:
            raise EdgeccError(f"{path}: not a report of edgecc-bench, micro or compare")
        reports.append(report)
    rows = max(len(r["results"]) for r in reports)
    figure, axes = plt.subplots(1, len(reports), figsize=(5.5 * len(reports), max(3.5, 0.16 * rows + 1)), squeeze=False)
    for one, report in zip(axes[0], reports):
        linear = report["format"] == "edgecc-bench 1" and any(r["what"] == "linear" for r in report["results"])
        (_roofline if linear else _KINDS[report["format"]])(one, report)
    save(figure, a.output)
    return 0
