"""passes/Passes.td, the one list of passes: what it shows is run."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PASSES = re.findall(r'^def (\w+) : Pass<"([\w-]+)".*?\n}\n', (ROOT / "passes/Passes.td").read_text(), re.M | re.S)
DEFINITIONS = dict(re.findall(r'^def (\w+) : (Pass<.*?\n})\n', (ROOT / "passes/Passes.td").read_text(), re.M | re.S))


@pytest.mark.parametrize("name, flag", PASSES)
def test_a_pass_has_an_example(name, flag):
    """It stands in the description, and it is a test of lit's that runs this very pass and checks what comes out."""
    named = re.search(r"^ +example: (test/passes/\S+\.mlir)$", DEFINITIONS[name], re.M)
    assert named, f"the description of {name} lacks a line `example: test/passes/...mlir`"
    text = (ROOT / named[1]).read_text()
    runs = re.findall(r"^// RUN: edgecc-opt (.*)$", text, re.M)
    # edgecc-opt has no samples: where a pass needs some, the file has the pass's name, and edgecc runs it.
    calibrated = named[1].endswith(f"/{flag.removeprefix('edge-')}.mlir") and re.search(r"^// RUN: edgecc .*--calibrate .*FileCheck", text, re.M)
    assert calibrated or any(re.search(rf"\b{flag}\b", run) and "FileCheck" in run for run in runs), f"{named[1]} does not run {flag}"


def test_all_passes_were_read():
    assert len(PASSES) == len(re.findall(r"^def ", (ROOT / "passes/Passes.td").read_text(), re.M)) >= 12
