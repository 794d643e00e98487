"""ONNX Runtime on the uncompressed model: what it says does not depend on anything of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import EdgeccError


def oracle_session(model: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise EdgeccError("the independent reference needs ONNX Runtime: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
