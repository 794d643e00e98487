"""Compiles one model by each of a list of recipes, measures each beside the uncompressed one, and prints one table. A recipe is parts
joined by '+' (f32, 8-bit, 4-bit, gqa, exit, ...), or name=options of edgecc. What edgecc refuses is said in the recipe's row."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

from ..compiler import compile, find_program
from ..errors import EdgeccError
from ..runtime import load
from . import emulated, recipes
from .labelled import Task
from .table import markdown, text_table

Row = dict[str, Any]


@dataclass
class Subject:
    """A model and what it is measured by."""

    name: str
    model: Path
    text: Path | None = None
    half: str = ""
    count: int | None = None
    tokenizer: Path | None = None
    completions: dict[str, Path] = field(default_factory=dict)
    dims: Mapping[str, Any] = field(default_factory=dict)
    calibrate: Path | None = None
    calibrate_samples: int | None = None  # instead of a recipe's own
    calibrate_split: str = ""  # what ends the prompt in a sample
    emulator: str = ""  # starts edgecc-eval for linux-arm64
    speed: bool = True
    task: Task | None = None  # of an encoder


def _evaluate(subject: Subject, edge: Path, reference: Path, scratch: Path) -> Row:
    """edgecc-eval on the text, and on each list of lines."""
    row: Row = {"accuracy": {}}
    tokenizer = ["--tokenizer", subject.tokenizer] if subject.tokenizer else []
    count = ["--count", subject.count] if subject.count else []
    half = ["--half", subject.half] if subject.half else []
    timed = [] if subject.speed else ["--no-speed"]
    runs: list[tuple[str, list[Any]]] = []
    if subject.text:
        # Where there are lines, they say how fast the model is in use.
        runs.append(("", ["--text", subject.text, *half, *(["--no-speed"] if subject.completions else timed)]))
    runs += [(name, ["--completions", lines, *timed]) for name, lines in subject.completions.items()]
    for name, arguments in runs:
        report = scratch / "eval.json"
        command = [find_program("edgecc-eval"), edge, "--reference", reference, *arguments, *tokenizer, *count, "--json", report]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        if done.returncode:
            raise EdgeccError(done.stderr.strip() or f"edgecc-eval ended with {done.returncode}")
        found = json.loads(report.read_text())
        row.update({k: found[k] for k in ("text", "speed") if k in found})
        if name:
            row["accuracy"][name] = found["completions"]
    return row


def _sentence(error: str) -> str:
    """Its first line, and what that introduces."""
    first, _, rest = error.removeprefix("edgecc: error: ").partition("\n")
    return f"{first} {rest.splitlines()[0].strip()}" if first.endswith(":") and rest else first


def run_recipe(subject: Subject, recipe: recipes.Recipe, folder: Path) -> Row:
    """One row; the uncompressed artifact lies in `folder` already. What is refused is a row, too."""
    row: Row = {"recipe": recipe.name}
    edge, reference = folder / f"{subject.name}-{recipe.name}.edge", folder / f"{subject.name}-f32.edge"
    try:
        options = recipes.options_for(recipe, subject.model)
        calibration = [f"--calibrate={subject.calibrate}"] if recipe.calibrated and subject.calibrate else []
        if calibration and subject.calibrate_samples:
            options = [o for o in options if not o.startswith("--calibrate-samples=")]
            calibration.append(f"--calibrate-samples={subject.calibrate_samples}")
        if calibration:
            # Recipes of one model ask the same of it.
            calibration.append(f"--calibration-cache={folder / 'calibration'}")
        if calibration and subject.calibrate_split:
            calibration.append(f"--calibrate-split={subject.calibrate_split}")
        if calibration and subject.tokenizer:
            calibration.append(f"--tokenizer={subject.tokenizer}")
        row["options"] = options
        begin = time.monotonic()
        report = compile(subject.model, edge, dims=subject.dims, arguments=[*options, *calibration])
        row["compile_seconds"] = time.monotonic() - begin
        row["ledger"] = report.get("ledger", [])
        model = load(edge, inspect_only=True)
        memory = model.memory()
        row.update(file_bytes=model.file_size, weights_bytes=memory.weights, state_bytes_per_position=memory.bytes_per_position)
        model.close()
        with tempfile.TemporaryDirectory(prefix="edgecc-eval-") as scratch:
            row.update(_evaluate(subject, edge, reference, Path(scratch)))
            if subject.emulator and subject.tokenizer:
                arm = edge.with_suffix(".arm64.edge")
                compile(subject.model, arm, dims=subject.dims, target="linux-arm64", arguments=[*options, *calibration])
                for name, lines in subject.completions.items():
                    row["accuracy"][name]["emulated"] = emulated.same_actions(lines, subject.tokenizer, subject.count, edge, arm, subject.emulator,
                                                                              Path(scratch))
        if subject.task:
            row["accuracy"][subject.task.name] = subject.task.measure(subject.model, edge)
    except EdgeccError as error:
        row["refused"] = _sentence(str(error))
    return row


def run_matrix(subject: Subject, wanted: list[recipes.Recipe], folder: Path) -> dict[str, Any]:
    """The report of all recipes, the uncompressed model first: all others are measured beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = recipes.parse("f32")
    rows = []
    for i, recipe in enumerate(todo := [plain, *(r for r in wanted if r != plain)]):
        if sys.stderr.isatty():
            print(f"\r\x1b[K{subject.name}: {recipe.name}, {i + 1} of {len(todo)}", end="", file=sys.stderr, flush=True)
        rows.append(run_recipe(subject, recipe, folder))
        if recipe == plain and "refused" in rows[0]:
            raise EdgeccError(f"{subject.model} without compression: {rows[0]['refused']}")
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return {"format": "edgecc.eval matrix 1", "model": subject.name, "rows": rows}


def _pairs(values: list[str], option: str) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not equals or not rest:
            raise EdgeccError(f"{option} {value}: write it as name={'A..B' if option == '--dim' else 'FILE'}")
        pairs[name] = rest
    return pairs


def add_emulator(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--emulator", default="", metavar="COMMAND",
                        help="starts edgecc-eval for linux-arm64, as 'qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu build/aarch64/bin/edgecc-eval': "
                             "how many lines are written as here")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="the model, ONNX")
    parser.add_argument("recipes", nargs="*", default=list(recipes.DEFAULT), help=f"default: {' '.join(recipes.DEFAULT)}")
    parser.add_argument("--text", type=Path, help="text to measure on")
    parser.add_argument("--half", choices=("first", "second"), default="", help="of the text's documents")
    parser.add_argument("--count", type=int, help="documents, and lines, at most")
    parser.add_argument("--completions", action="append", default=[], metavar="NAME=FILE", help="lines to write, and the name of their column")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--calibrate", type=Path, help="samples for the recipes that look at what flows through the model")
    parser.add_argument("--calibrate-samples", type=int, metavar="N", help="of them, at most (default: the recipe's, or edgecc's)")
    parser.add_argument("--calibrate-split", default="", metavar="MARK",
                        help="what ends the prompt in a sample: exits are for what follows, and it counts as much as prompts do")
    add_emulator(parser)
    parser.add_argument("--dim", action="append", default=[], metavar="NAME=A..B")
    parser.add_argument("--folder", type=Path, default=Path("eval"), help="where the artifacts go (default: eval)")
    parser.add_argument("--json", type=Path, help="write everything, each layer's errors included")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")


def run(a: argparse.Namespace) -> int:
    subject = Subject(a.model.parent.name if a.model.stem == "model" else a.model.stem, a.model, text=a.text, half=a.half, count=a.count,
                      tokenizer=a.tokenizer, completions={k: Path(v) for k, v in _pairs(a.completions, "--completions").items()},
                      dims=_pairs(a.dim, "--dim"), calibrate=a.calibrate,
                      calibrate_samples=a.calibrate_samples, calibrate_split=a.calibrate_split, emulator=a.emulator)
    if not subject.text and not subject.completions:
        raise EdgeccError("nothing to measure: give --text FILE or --completions NAME=FILE")
    report = run_matrix(subject, [recipes.parse(r) for r in a.recipes], a.folder)
    if a.json:
        a.json.write_text(json.dumps(report, indent=1) + "\n")
    print((markdown if a.markdown else text_table)(report["rows"]))
    return 0
