"""What is done to a case before it is compiled: ONNX Runtime's optimizer, and flags of the compiler."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from graph import Case, Rejected
from oracle import session_of

FLAGS = (["--quant=w8"], ["--quant=w8a8"], ["--quant=w4g32a8"], ["--quant=w4g32"], ["--target=x86-64-v3"])
LOOSE = 0.5  # of the largest value: what quantization may cost on random weights


def optimized(case: Case, rng: np.random.Generator) -> Case:
    """The graph as ONNX Runtime's optimizer leaves it: constants folded, and at the second level its own operators."""
    levels = ort.GraphOptimizationLevel
    level = [levels.ORT_ENABLE_BASIC, levels.ORT_ENABLE_EXTENDED][rng.integers(2)]
    with tempfile.TemporaryDirectory(prefix="edgecc-fuzz-") as folder:
        path = Path(folder) / "optimized.onnx"
        try:
            session_of(case.model.SerializeToString(), level, str(path))
        except Exception as problem:
            raise Rejected(str(problem)) from None
        model = onnx.load(path)
    return Case(model, case.calls, case.dims, case.arguments, case.tolerance, f"{case.note}; after {level.name}", case.stateful)


def quantizable(model: onnx.ModelProto) -> bool:
    """Whether there is a float matrix of at least 16 outputs and 32 inputs."""
    return any(w.data_type == onnx.TensorProto.FLOAT and len(w.dims) == 2 and min(w.dims) >= 16 and max(w.dims) >= 32
               for w in model.graph.initializer)


def flagged(case: Case, rng: np.random.Generator) -> Case:
    arguments = FLAGS[rng.integers(len(FLAGS))]
    lossy = arguments[0].startswith("--quant")
    return Case(case.model, case.calls, case.dims, arguments, LOOSE if lossy else case.tolerance, f"{case.note}; {arguments[0]}", case.stateful)
