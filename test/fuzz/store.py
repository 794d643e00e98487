"""Cases as folders: model.onnx, call0.npz, ..., case.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx

from graph import Case


def save_case(case: Case, folder: Path, about: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("call*.npz"):
        old.unlink()
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    for i, feeds in enumerate(case.calls):
        np.savez(folder / f"call{i}.npz", **feeds)
    facts = {"dims": case.dims, "arguments": case.arguments, "tolerance": case.tolerance, "note": case.note, "stateful": case.stateful, **about}
    (folder / "case.json").write_text(json.dumps(facts, indent=1) + "\n")
    (folder / "model.txt").write_text(onnx.printer.to_text(case.model))


def load_case(folder: Path) -> Case:
    facts = json.loads((folder / "case.json").read_text())
    calls = [dict(np.load(folder / f"call{i}.npz")) for i in range(len(list(folder.glob("call*.npz"))))]
    return Case(onnx.load(folder / "model.onnx"), calls, facts["dims"], facts["arguments"], facts["tolerance"], facts["note"],
                facts["stateful"])
