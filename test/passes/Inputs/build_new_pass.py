"""An edgecc-opt with the README's example pass: build_new_pass.py SCRATCH PROGRAM, run by lit.

What new_pass.py writes goes into SCRATCH, a copy of the few files it needs; all else comes from the build folder.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def run(*command) -> None:
    done = subprocess.run([str(c) for c in command], text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def main() -> None:
    scratch, program = Path(sys.argv[1]), Path(sys.argv[2])
    build, llvm = Path(os.environ["EDGECC_BUILD"]), Path(os.environ["EDGECC_LLVM_TOOLS"]).parent
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"^    tools/dev/(new_pass\.py) (\w+) (\w+) \"(.*)\"$", readme, re.MULTILINE)
    block = textwrap.dedent(re.search(r"^    #include \"mlir/.*?^    } // namespace$", readme, re.MULTILINE | re.DOTALL)[0])
    include, body = block.split("\n", 1)

    (scratch / "tools/dev").mkdir(parents=True)
    (scratch / "passes").mkdir()
    shutil.copy(ROOT / "tools/dev/new_pass.py", scratch / "tools/dev")
    shutil.copy(ROOT / "passes/Passes.td", scratch / "passes")
    run(sys.executable, scratch / "tools/dev" / command[1], *command.groups()[1:])
    source = scratch / "passes" / command[3] / f"{command[2]}.cpp"
    begun = source.read_text()
    filled = re.sub(r"^namespace \{$.*^\} // namespace$", lambda _: body.strip(), begun, flags=re.MULTILINE | re.DOTALL)
    assert filled != begun, "new_pass.py writes no unnamed namespace to fill in"
    source.write_text(filled.replace("#include", f"{include}\n#include", 1))

    tables = scratch / "passes/Passes.h.inc"
    run(llvm / "bin/mlir-tblgen", "-gen-pass-decls", "-name", "Edge", "-I", llvm / "include", scratch / "passes/Passes.td", "-o", tables)
    # The scratch folder first: its Passes.h.inc is the one with the new pass.
    compile_flags = ["-std=c++17", "-fno-exceptions", "-O0", "-I", scratch, "-I", build, "-I", ROOT, "-isystem", llvm / "include"]
    libraries = [build / "passes/libpasses.a", *sorted((build / "dialects").glob("*/lib*.a"))]
    run("c++", *compile_flags, source, ROOT / "tools/edgecc-opt/edgecc-opt.cpp", "-o", program, "-Wl,--start-group", *libraries,
        "-Wl,--end-group", "-L", llvm / "lib", f"-Wl,-rpath,{llvm / 'lib'}", "-lMLIR", "-lLLVM", "-lopenblas")


if __name__ == "__main__":
    main()
