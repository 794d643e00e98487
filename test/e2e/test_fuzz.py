"""Fixed seeds of the differential fuzzer (test/fuzz): random small graphs against ONNX Runtime.

    pytest test/e2e/test_fuzz.py [--build-dir build]
"""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parents[1] / "fuzz"
# How many seeds of each of these subjects; about five minutes of two cores in all.
SEEDS = {
    "attention,attention-optimized": 80,
    "attention-miss": 200,
    "operators,operators-miss,operators-optimized": 60,
    "decoders,decoders-miss,decoders-optimized": 40,
    "rope,rope-miss,norms,norms-miss": 60,
    "linears,linears-miss,linears-optimized,rope-optimized,norms-optimized": 40,
    "elementwise,elementwise-miss": 100,
    "moves,moves-miss,shapes,shapes-miss": 60,
    "linears-flags,attention-flags,decoders-flags": 20,
}


@pytest.mark.parametrize("subjects", SEEDS)
def test_fuzz(subjects, build_dir):
    pytest.importorskip("onnxruntime", reason="NOT TESTED, random graphs: onnxruntime is not installed")
    done = subprocess.run([sys.executable, str(FUZZ), "--only", subjects, "--count", str(SEEDS[subjects]), "--build-dir", str(build_dir)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
