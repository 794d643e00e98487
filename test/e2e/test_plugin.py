"""A real model through the plugin of test/passes/plugin: the same numbers from norms without scales."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import edgecc  # noqa: E402
from run_cases import relative_error  # noqa: E402
from test_models import child, model_directory  # noqa: E402

PASSES = Path(__file__).resolve().parents[1] / "passes"


def test_norms_without_scales(build_dir, tmp_path):
    """All but the last norm of stories260K lose their scales (the head's weight is the embedding's, too), and no logit moves."""
    directory = model_directory("stories260K", build_dir)
    built = subprocess.run([sys.executable, PASSES / "Inputs/build_plugin.py", PASSES / "plugin", tmp_path / "plugin"],
                           env={**os.environ, "EDGECC_BUILD": str(build_dir)}, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    plugin = {"load_pass_plugin": tmp_path / "plugin/fold-norm-scales.so", "plugin_pass": "fold-norm-scales"}
    report = edgecc.compile(directory / "model.onnx", tmp_path / "folded.edge", timeout=300, **plugin)
    remarks = " ".join(map(str, report["remarks"]))
    assert remarks.count("the scale went into 3 linear layers") == remarks.count("the scale went into 2 linear layers") == 5
    assert remarks.count("the scale stays") == 1 and "has other readers" in remarks
    edge = child(str(build_dir / "bin/edgecc"), str(directory / "model.onnx"), "--emit=edge", "-o", "-", "--quiet",
                 f"--load-pass-plugin={plugin['load_pass_plugin']}", "--plugin-pass=fold-norm-scales")
    norms = [line for line in edge.splitlines() if "edge.rms_norm" in line]
    assert len(norms) == 11 and sum(line.split("edge.rms_norm")[1].split("{")[0].count("%") == 1 for line in norms) == 10
    feeds, expected = (dict(np.load(directory / f"case0.{part}.npz")) for part in ("inputs", "outputs"))
    with edgecc.load(tmp_path / "folded.edge") as model:
        logits = model.session().run({"input_ids": feeds["input_ids"]}, "score")["logits"]
    assert relative_error(logits, expected["logits"]) < 1e-4
