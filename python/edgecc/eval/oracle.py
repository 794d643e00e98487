"""ONNX Runtime on the uncompressed model: what it says does not depend on anything of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import EdgeccError


def oracle_session(model: Path | bytes, optimize: bool = True) -> Any:
    """Of a file or what is in one; without optimization every node's result is what the graph says."""
    try:
        import onnxruntime
    except ImportError:
        raise EdgeccError("the independent reference needs ONNX Runtime: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"])
