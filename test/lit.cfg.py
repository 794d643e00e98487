"""How lit finds the programs under test, and what this machine can run."""

import os
import shutil

import lit.formats

config.name = "edgecc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".onnxtxt", ".test"]
config.excludes = ["e2e", "python", "Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.build_dir, "test")

# Ours first, then LLVM's FileCheck, not, split-file, llvm-nm and friends.
config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.build_dir, "bin"), config.llvm_tools_dir, config.environment["PATH"]]
)
# For scripts that build something on top: where the libraries are.
config.environment["EDGECC_BUILD"] = config.build_dir
config.environment["EDGECC_LLVM_TOOLS"] = config.llvm_tools_dir
# A failing check then shows its input, a crash its stack.
config.environment["FILECHECK_OPTS"] = "--dump-input=fail"
# Freed memory is overwritten, so that reading it shows; tcache would keep it as it was. Compilers are slow with it: tests that build
# C++ take it back.
config.environment["MALLOC_PERTURB_"] = "165"
config.environment["GLIBC_TUNABLES"] = "glibc.malloc.tcache_count=0"
# Sessions lie between inaccessible pages (runtime/README.md).
config.environment["EDGECC_FENCE"] = "1"
for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LLVM_SYMBOLIZER_PATH"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
if "ASAN_OPTIONS" in os.environ:
    config.available_features.add("address-sanitizer")

config.substitutions.append(("%shared", os.path.join(config.source_dir, "..", "shared")))
config.substitutions.append(("%python", config.python))

if shutil.which("qemu-aarch64"):
    config.available_features.add("qemu-aarch64")
    config.substitutions.append(("%qemu-aarch64", "qemu-aarch64 -L /usr/aarch64-linux-gnu"))
if shutil.which("aarch64-linux-gnu-g++"):
    config.available_features.add("aarch64-cross")
if os.path.isdir(os.path.join(config.source_dir, "..", "shared")):
    config.available_features.add("shared")
config.available_features.add("host-" + os.uname().machine)
