"""Builds a plugin's project against the build folder, as its author would: build_plugin.py PROJECT BUILD, run by lit."""

import os
import shutil
import subprocess
import sys

project, build = sys.argv[1:]
cache = [f"-DCMAKE_CXX_COMPILER_LAUNCHER={shutil.which('ccache')}"] if shutil.which("ccache") else []
for command in (["cmake", "-G", "Ninja", "-S", project, "-B", build, f"-DEdgecc_DIR={os.environ['EDGECC_BUILD']}", *cache],
                ["cmake", "--build", build]):
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
