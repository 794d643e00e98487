#!/usr/bin/env python3
"""Runs the reference cases of a model directory (see export_models.py) on its compiled form and reports the errors as JSON.

    python test/e2e/run_cases.py DIR/NAME model.edge [--cpu baseline] [--no-tokens]

A program of its own, so that a crash of generated code is one test's failure. Prints {"cases": [{output: relative error}], "torch": the
same against PyTorch, if the directory has its outputs, "tokens": {"one": [...], "chunks": [...], "single": [...]}}; what cannot be run
is an error with the runtime's sentence.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

import edgecc  # noqa: E402


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest expected value; infinite if the shapes differ or a NaN is new."""
    if actual.shape != expected.shape:
        return float("inf")
    if not expected.size:
        return 0.0
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    same = (a == e) | (np.isnan(a) & np.isnan(e))
    difference = np.where(same, 0, np.abs(a - e)).max()
    return float(difference / max(np.abs(e[np.isfinite(e)]).max(initial=0), 1e-30)) if np.isfinite(difference) else float("inf")


def entry_for(model: edgecc.Model, feeds: dict[str, np.ndarray]) -> edgecc.Entry:
    """decode for one token, else the entry that gives the logits of all tokens; the only entry of other models."""
    names = [e.name for e in model.entries]
    tokens = [v for n, v in feeds.items() if n in ("input_ids", "x")]
    one = not tokens or tokens[0].shape[1] == 1
    return model.entry(next(n for n in (("decode",) if one else ()) + ("score", "prefill", "decode", names[0]) if n in names))


def visible(expected: dict[str, np.ndarray], feeds: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Expected values that mean something: what an encoder gives at padded positions does not."""
    value, mask = expected[name], feeds.get("attention_mask")
    if mask is None or mask.all() or value.shape[:2] != mask.shape:
        return np.ones(value.shape, bool)
    return np.broadcast_to(mask.astype(bool).reshape(mask.shape + (1,) * (value.ndim - 2)), value.shape)


def errors_of(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray], feeds: dict[str, np.ndarray]) -> dict[str, float]:
    """Relative errors by output, of what is visible."""
    result = {}
    for name, value in actual.items():
        keep = visible(expected, feeds, name)
        result[name] = relative_error(np.where(keep, value, 0), np.where(keep, expected[name], 0)) \
            if value.shape == expected[name].shape else float("inf")
    return result


def run_cases(directory: Path, model: edgecc.Model, oracle: str = "outputs") -> list[dict[str, float]]:
    """Relative errors by output against an oracle ("outputs": ONNX Runtime, or "torch"), case by case in one session, so that states
    carry on."""
    errors = []
    with model.session() as session:
        for i in range(json.loads((directory / "model.json").read_text())["cases"]):
            feeds, expected = (dict(np.load(directory / f"case{i}.{part}.npz")) for part in ("inputs", oracle))
            entry = entry_for(model, feeds)
            wanted = {t.name for t in entry.inputs}
            errors.append(errors_of(session.run({n: v for n, v in feeds.items() if n in wanted}, entry.name), expected, feeds))
    return errors


def run_tokens(directory: Path, model: edgecc.Model) -> dict[str, list[int]]:
    """The greedy continuation of the reference prompt, given at once, in chunks of 4, and token by token."""
    prompt = np.load(directory / "tokens.npz")["prompt"]
    result = {}
    for how, chunk in (("one", 0), ("chunks", 4), ("single", 1)):
        with model.session() as session:
            result[how] = list(session.generate(prompt, 64, stop=[], chunk=chunk))
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("edge", type=Path)
    parser.add_argument("--cpu")
    parser.add_argument("--no-tokens", action="store_true")
    a = parser.parse_args()
    if "EDGECC_RUNTIME" not in os.environ and (ROOT / "build/lib/libedgecc_runtime.so").exists():
        os.environ["EDGECC_RUNTIME"] = str(ROOT / "build/lib/libedgecc_runtime.so")
    result: dict[str, Any] = {}
    try:
        model = edgecc.load(a.edge, cpu=a.cpu)
        result["cases"] = run_cases(a.directory, model)
        if "torch" in json.loads((a.directory / "model.json").read_text())["oracles"]:
            result["torch"] = run_cases(a.directory, model, "torch")
        if (a.directory / "tokens.npz").exists() and not a.no_tokens:
            result["tokens"] = run_tokens(a.directory, model)
    except edgecc.EdgeccError as error:
        print(f"{a.edge}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
