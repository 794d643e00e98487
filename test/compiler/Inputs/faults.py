"""Ends compiles early in every way and prints what they said: faults.py FOLDER LOWERED.mlir."""

import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

folder, lowered = pathlib.Path(sys.argv[1]), sys.argv[2]
old = folder / "old.edge"
old.write_text("the old one")


def run(what, output, limit=None):
    def limits():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(["edgecc", lowered, "-o", str(output)], stderr=subprocess.PIPE, text=True, preexec_fn=limits)
    assert done.returncode == 1, (what, done)
    print(f"{what}: {done.stderr.strip()}")


run("directory", folder)
run("device", "/dev/full")
run("missing folder", folder / "nowhere" / "out.edge")
run("file size limit", old, limit=2048)

# Enough weights to be caught while they are written.
big = folder / "big.mlir"
big.write_text(
    "module {\n  plan.model \"big\" {\n"
    '    plan.weight "w" at 0 bytes 1073741824 {value = dense<1.0> : tensor<268435456xf32>}\n'
    '    plan.entry "main" function @main arena 0 {}\n  }\n'
    "  llvm.func @main(%call: !llvm.ptr) { llvm.return }\n}\n"
)
for what, number in ("interrupted", signal.SIGINT), ("terminated", signal.SIGTERM):
    process = subprocess.Popen(["edgecc", str(big), "-o", str(old)], stderr=subprocess.PIPE, text=True)
    while not list(folder.glob("*.partial")):
        assert process.poll() is None, "the compile ended before it could be interrupted"
        time.sleep(0.001)
    process.send_signal(number)
    print(f"{what}: {process.communicate()[1].strip()}")
    assert process.returncode != 0

big.unlink()
print("after all:", " ".join(f"{name}={(folder / name).read_text()}" for name in sorted(os.listdir(folder))))
