"""ONNX's node tests as one test: what passed before must pass. `onnx_backend.py` by itself says more."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def test_no_operator_is_lost(build_dir, request):
    pytest.importorskip("onnx")
    if not (HERE / "onnx_backend_expected.txt").exists():
        pytest.skip("onnx_backend_expected.txt is not there (onnx_backend.py --update writes it)")
    modes = "static" if request.config.getoption("--quick") else "static,dynamic,constant"
    done = subprocess.run([sys.executable, str(HERE / "onnx_backend.py"), "--build-dir", str(build_dir), "--mode",
                           modes], capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
