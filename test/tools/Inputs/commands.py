"""Calls tools/setup, demo and test where nothing can be installed, built or run: commands.py SOURCE FOLDER."""

import os
import pathlib
import subprocess
import sys

source, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
for name in ("dpkg-query", "apt-get", "sudo", "cmake", "ninja", "ctest", "python3", "pip"):
    stub = folder / name
    stub.write_text(f"#!/bin/sh\necho RAN {name}\nexit 1\n")
    stub.chmod(0o755)
(folder / "empty").mkdir()
(folder / "a checkpoint").mkdir()
(folder / "a checkpoint/model.safetensors").touch()


def call(program, *arguments):
    # By a relative path, from a folder that is not the source's.
    return subprocess.run([os.path.relpath(source / "tools" / program, folder), *arguments], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"})


for line in (
    "setup --help", "demo --help", "demo -h", "test --help", "test lit --help",
    "setup --hlep", "setup packages build", "demo --fast", "demo minilm", "demo --hf", "demo --hf nowhere", "demo --hf empty",
    "demo --gguf nowhere", "demo --encoder --chat", "demo --chat --prompt hello", "demo --prompt", "test --ful", "test lint",
):
    program, *arguments = line.split()
    done = call(program, *arguments)
    said, usage = (done.stdout, done.stdout) if done.returncode == 0 else (done.stderr, done.stderr.partition("\n")[2])
    assert "RAN" not in done.stdout + done.stderr, (line, done)
    # The usage names every form of the command.
    assert f"tools/{program} " in usage and "#" not in usage, (line, done)
    print(f"{line}: {done.returncode}: {said.splitlines()[0]}")

# That the stubs would have been seen, and that a checkpoint is looked for where the command was called.
for program, *arguments in ["setup"], ["setup", "packages"], ["demo"], ["test", "lit"], ["demo", "--prompt", "Hi", "--hf", "a checkpoint"]:
    assert "RAN" in call(program, *arguments).stdout, program
