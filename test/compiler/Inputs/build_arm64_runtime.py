"""Builds the runtime's core for AArch64, for a test: build_arm64_runtime.py SOURCE BUILD OUT."""

import pathlib
import subprocess
import sys

source, build, out = map(pathlib.Path, sys.argv[1:])
flags = ["-std=c++17", "-O1", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", '-DEDGECC_VERSION="test"']
includes = [f"-I{source}", f"-I{build}", f"-I{source}/runtime/include"]
objects = []
for file in sorted((source / "runtime" / "src").glob("*.cpp")):
    objects.append(str(out / (file.stem + ".o")))
    subprocess.run(["aarch64-linux-gnu-g++", *flags, *includes, "-c", str(file), "-o", objects[-1]], check=True)
subprocess.run(["aarch64-linux-gnu-ar", "rcs", str(out / "libruntime.a"), *objects], check=True)
