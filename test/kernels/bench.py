"""Times matrix kernels on this machine against its own peak, and counts instructions per multiply-add under qemu.

usage: bench.py TARGET M K N [RHS]       e.g. bench.py x86-64-v4 128 1024 3072
       bench.py arm64 1 4096 4096        (set ICOUNT to libicount.so, the counting plugin)
"""

import os
import sys
import tempfile

from harness import TARGETS, run
from test_kernels import linear


def main():
    target, m, k, n = TARGETS[sys.argv[1]], *map(int, sys.argv[2:5])
    rhs = sys.argv[5] if len(sys.argv) > 5 else "f32"
    case = linear(m, k, n, rhs=rhs, dynamic=m > 1)
    with tempfile.TemporaryDirectory() as folder:
        if target.runner:
            counts = [run([case], target, folder, repeats=r, plugin=os.environ["ICOUNT"]) for r in (1, 3)]
            print("%s %dx%dx%d %s: %.4f instructions per multiply-add" % (target.name, m, k, n, rhs, (counts[1] - counts[0]) / 2 / (m * k * n)))
            return
        seconds = min(run([case], target, folder, repeats=max(3, int(2e10 / (m * k * n))))[0] for _ in range(3))
        print("%s %dx%dx%d %s: %.3f ms, %.1f GFLOP/s, %.1f GB/s of weights" % (
            target.name, m, k, n, rhs, seconds * 1e3, 2e-9 * m * k * n / seconds, 1e-9 * k * n * case.inputs[1].itemsize / seconds))


main()
