"""What early exits save: each model with an exit after a quarter, a half and three quarters of its layers, each alone, with maps fitted on
some samples; on others every call is made with thresholds from low to high, and compared with what the whole model says."""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np

from ..bench.plot import COLORS, pyplot, save
from ..compiler import compile, find_program
from ..errors import EdgeccError
from ..runtime import Session, load
from . import tables
from .labelled import Example
from .matrix import Subject

_THRESHOLDS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999)
_AGREEMENT, _SAVED = 0.99, 0.25
_MODELS = ("phone_agent", "stories260K", "babyllama_tok105", "out2Msp", "bitllama_3M", "rxnmapper", "minilm")

Point = dict[str, float]
# The answers of calls, one after the other.
Calls = Callable[[Session], Iterator[int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="*", metavar="model", help=f"default: {' '.join(_MODELS)}")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of models/ and text/ (default: ../shared/data)")
    parser.add_argument("--folder", type=Path, default=Path("build/eval"), help="models, artifacts and points (default: build/eval)")
    parser.add_argument("--texts", type=int, default=20, metavar="N", help="texts, or lines of a file, to measure on (default: 20)")
    parser.add_argument("--examples", type=int, default=1000, metavar="N", help="of an encoder, at most (default: 1000)")
    parser.add_argument("--tokens", type=int, default=200, metavar="N", help="of each text at most (default: 200)")
    parser.add_argument("-o", "--output", type=Path, help="picture; its ending says the format: .svg, .png, .pdf")


def _tokens(a: argparse.Namespace, subject: Subject) -> list[tuple[list[int], int]]:
    """Texts that the maps were not fitted on, and how many of their tokens are a prompt."""
    texts: list[tuple[list[int], int]] = []
    split = ["--split", subject.calibrate_split] if subject.calibrate_split else []
    for file in subject.completions.values() or [subject.text]:
        command = [find_program("edgecc-tokenize"), str(file), "--tokenizer", str(subject.tokenizer), *split]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        if done.returncode:
            raise EdgeccError(done.stderr.strip())
        lines = [line.partition("|") for line in done.stdout.splitlines()]
        chosen = lines[len(lines) // 2:] if subject.half == "second" else lines
        for known, mark, rest in chosen[:a.texts]:
            prompt, answer = known.split(), rest.split()
            texts.append(([int(i) for i in prompt + answer][:a.tokens], len(prompt) if mark else 1))
    return texts


def _writing(texts: list[tuple[list[int], int]]) -> Calls:
    def calls(session: Session) -> Iterator[int]:
        for ids, prompt in texts:
            session.reset()
            if prompt > 1:
                session.feed(np.array(ids[:prompt - 1]))
            for token in ids[prompt - 1:-1]:
                yield int(session.feed(np.array([token])).argmax())
    return calls


def _answering(examples: list[Example]) -> Calls:
    return lambda session: (example.answer(session.run(example.feeds)) for example in examples)


def sweep(edge: Path, calls: Calls) -> list[Point]:
    """One exit: agreement with the whole model, and the share of layers that is saved, for each threshold."""
    points = []
    with load(edge, threads=1) as model, model.session() as session:
        session.force_exit("never")
        whole = list(calls(session))
        session.force_exit(None)
        for threshold in _THRESHOLDS:
            session.set_exit_threshold(0, threshold)
            layers = same = 0
            for answer, expected in zip(calls(session), whole, strict=True):
                layers += session.exit_report.last_layer
                same += answer == expected
            points.append({"threshold": threshold, "agreement": same / len(whole), "saved": 1 - layers / len(whole) / model.layers})
    return points


def most_saved(points: list[Point]) -> Point | None:
    """The point that saves most of those that agree well enough."""
    return max((p for p in points if p["agreement"] >= _AGREEMENT), key=lambda p: p["saved"], default=None)


def measure(a: argparse.Namespace, name: str) -> dict[int, list[Point]]:
    wanted = argparse.Namespace(data=a.data, folder=a.folder, stories=a.texts, lines=a.texts, reactions=a.examples, sentences=None, speed=False,
                                emulator="")
    subject, _ = tables.subject_of(wanted, name)
    if subject.task:
        examples = subject.task.examples
        calls = _answering(examples[::-(-len(examples) // a.examples)])  # the file may be sorted by answers
    else:
        calls = _writing(_tokens(a, subject))
    whole = a.folder / name / "whole.edge"
    whole.parent.mkdir(parents=True, exist_ok=True)  # the model's own folder may have another name
    compile(subject.model, whole, dims=subject.dims, arguments=["--exit-layers=1"])
    with load(whole, inspect_only=True) as model:
        count = model.layers
    found = {}
    for layer in sorted({max(1, (count * quarter + 2) // 4) for quarter in (1, 2, 3)} - {count}):
        edge = a.folder / name / f"exit-{layer}.edge"
        compile(subject.model, edge, dims=subject.dims, timeout=1800, arguments=[
            f"--exit-layers={layer}", f"--exit-agreement={_AGREEMENT}", f"--calibrate={subject.calibrate}",
            f"--calibration-cache={a.folder / name / 'calibration'}", *([f"--tokenizer={subject.tokenizer}"] if subject.tokenizer else []),
            *([f"--calibrate-samples={subject.calibrate_samples}"] if subject.calibrate_samples else []),
            *([f"--calibrate-split={subject.calibrate_split}"] if subject.calibrate_split else [])])
        found[layer] = sweep(edge, calls)
    return found


def table(curves: dict[str, dict[int, list[Point]]]) -> str:
    lines = ["| model | exit after | saved at 0.9 | at 0.99 | at a margin of | a quarter saved |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    for name, exits in curves.items():
        for layer, points in exits.items():
            rough = max((p["saved"] for p in points if p["agreement"] >= 0.9), default=0.0)
            best = most_saved(points) or {"saved": 0.0, "threshold": 1.0}
            lines.append(f"| {name} | {layer} | {rough:.1%} | {best['saved']:.1%} | {best['threshold']:g} | "
                         f"{'yes' if best['saved'] >= _SAVED else 'no'} |")
    return "\n".join(lines)


def draw(curves: dict[str, dict[int, list[Point]]], output: Path) -> None:
    figure, axes = pyplot().subplots(1, len(curves), figsize=(3.2 * len(curves), 3), squeeze=False)
    for axis, (name, exits) in zip(axes[0], curves.items()):
        for i, (layer, points) in enumerate(exits.items()):
            axis.plot([p["saved"] for p in points], [p["agreement"] for p in points], ".-", color=COLORS[i], linewidth=0.8, markersize=4,
                      label=f"after {layer}")
        axis.axhline(_AGREEMENT, color="#777777", linewidth=0.6, linestyle="--")
        axis.axvline(_SAVED, color="#777777", linewidth=0.6, linestyle="--")
        axis.set(xlabel="share of layers saved", ylabel="agreement", title=name)
        axis.legend(fontsize=6)
    save(figure, output)


def run(a: argparse.Namespace) -> int:
    if unknown := [m for m in a.models if m not in _MODELS]:
        raise EdgeccError(f"there is no model '{unknown[0]}'; models are {', '.join(_MODELS)}")
    curves: dict[str, Any] = {}
    for name in a.models or _MODELS:
        curves[name] = measure(a, name)
        (a.folder / f"{name}-exits.json").write_text(json.dumps(curves[name], indent=1) + "\n")
    print(table(curves))
    if a.output:
        draw(curves, a.output)
    return 0
