"""passes/normalize/Signatures.def is what ONNX and ONNX Runtime, as pinned here, say of their operators."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

SCRIPT = Path(__file__).resolve().parents[2] / "tools/dev/onnx_signatures.py"


def test_the_file_is_up_to_date():
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
