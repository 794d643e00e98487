"""Compiles layers with edgecc-opt and runs them, natively or under qemu, beside a reference in float64."""

import os
import pathlib
import re
import struct
import subprocess
import tempfile

import ml_dtypes
import numpy as np
import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = pathlib.Path(os.environ.get("EDGECC_BUILD", ROOT / "build"))
LLVM = pathlib.Path(os.environ.get("EDGECC_LLVM", "/usr/lib/llvm-22"))

DTYPES = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16, "i1": np.bool_, "ui8": np.uint8,
          "i8": np.uint8, "i32": np.int32, "i64": np.int64}


class Target:
    """A CPU variant: what goes into edge.target, what code generation is told, and how its programs are started."""

    def __init__(self, name, arch, features, llvm, runner, compiler="g++"):
        self.name, self.arch, self.features, self.llvm, self.runner, self.compiler = name, arch, features, llvm, runner, compiler

    def attribute(self):
        if not self.arch:
            return None
        features = ", [%s]" % ", ".join('"%s"' % f for f in self.features) if self.features else ""
        return '#edge.target<"%s"%s>' % (self.arch, features)


X86 = ["--target=x86_64-linux-gnu"]
ARM = ["--target=aarch64-linux-gnu"]
QEMU = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"]
TARGETS = {t.name: t for t in [
    Target("generic", None, [], X86 + ["-march=x86-64-v3"], []),
    Target("x86-64-v3", "x86_64", ["avx2"], X86 + ["-march=x86-64-v3"], []),
    Target("x86-64-v4", "x86_64", ["avx2", "avx512"], X86 + ["-march=x86-64-v4", "-mprefer-vector-width=512"], []),
    Target("x86-64-v4-vnni", "x86_64", ["avx2", "avx512", "avx512vnni"],
           X86 + ["-march=x86-64-v4", "-mavx512vnni", "-mprefer-vector-width=512"], []),
    Target("arm64", "aarch64", [], ARM + ["-march=armv8-a"], QEMU + ["-cpu", "cortex-a53"], "aarch64-linux-gnu-g++"),
    Target("arm64-dotprod", "aarch64", ["dotprod", "fp16"], ARM + ["-march=armv8.2-a+dotprod+fp16"], QEMU + ["-cpu", "cortex-a76"],
           "aarch64-linux-gnu-g++"),
    Target("arm64-max", "aarch64", ["dotprod", "i8mm", "fp16"], ARM + ["-march=armv8.2-a+dotprod+i8mm+fp16"], QEMU + ["-cpu", "max"],
           "aarch64-linux-gnu-g++"),
]}


def runnable(target):
    """Whether this machine can run programs of a target."""
    if target.runner:
        return all(subprocess.run(["which", p], capture_output=True).returncode == 0 for p in (target.runner[0], target.compiler))
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    return all({"avx2": "avx2", "avx512": "avx512vl", "avx512vnni": "avx512_vnni"}[f] in flags for f in target.features)


def tensor(shape, element):
    """The type of a tensor; a string in `shape` is an affine expression of the symbols."""
    if all(isinstance(s, int) for s in shape):
        return "tensor<%s>" % "x".join([str(s) for s in shape] + [element])
    symbols = sorted(set(re.findall(r"s\d+", " ".join(str(s) for s in shape))), key=lambda s: int(s[1:]))
    count = int(symbols[-1][1:]) + 1
    return "tensor<%s, affine_map<()[%s] -> (%s)>>" % (
        "x".join([str(s) if isinstance(s, int) else "?" for s in shape] + [element]),
        ", ".join("s%d" % i for i in range(count)), ", ".join(str(s) for s in shape))


class Case:
    """One function of one layer: `text` uses %0, %1, ... for the inputs and gives the result's value as %r."""

    def __init__(self, text, inputs, expected, shapes, result_shape, elements, result_element, dims=(), state=None, tolerance=None):
        self.text, self.inputs, self.expected, self.dims, self.state = text, inputs, expected, list(dims), state
        self.types = [tensor(s, e) for s, e in zip(shapes, elements)]
        self.result_type = tensor(result_shape, result_element)
        self.result_dtype = DTYPES[result_element]
        # Memory that the entry updates in place, and bytes of its other results.
        self.states = [] if state is None else [state]
        self.outputs = [] if self.states else [self.expected.size * np.dtype(self.result_dtype).itemsize]
        self.tolerance = tolerance or {"f32": 2e-5, "f16": 2e-3, "bf16": 1.6e-2}.get(result_element, 0)

    def function(self, name):
        state = ' {edge.state = 0 : i64, edge.name = "state", edge.element = "f32"}'
        arguments = ["%%%d: %s%s" % (i, t, state if self.state == i else "") for i, t in enumerate(self.types)]
        result = "(%s%s)" % (self.result_type, state if self.state is not None else "")
        return "func.func @%s(%s) -> %s {\n%s\n  return %%r : %s\n}\n" % (name, ", ".join(arguments), result, self.text, self.result_type)


def module(cases, target, symbols):
    attributes = ["edge.symbols = [%s]" % ", ".join('#edge.symbol<"s%d", 1, 4096, free>' % i for i in range(symbols))]
    if target.attribute():
        attributes.append("edge.target = " + target.attribute())
    return "module attributes {%s} {\n%s}\n" % (", ".join(attributes), "".join(c.function("c%d" % i) for i, c in enumerate(cases)))


def build(text, target, folder):
    """A shared library of the entries of a module; gives its path and each entry's arena."""
    folder = pathlib.Path(folder)
    (folder / "in.mlir").write_text(text)
    lowered = subprocess.run([BUILD / "bin" / "edgecc-opt", "--edge-lower", folder / "in.mlir"], capture_output=True, text=True)
    if lowered.returncode:
        raise RuntimeError(lowered.stderr[:4000])
    arenas = {name: int(size) for name, size in re.findall(r"function @(\w+) arena (\d+)", lowered.stdout)}
    ir = subprocess.run([LLVM / "bin" / "mlir-translate", "--mlir-to-llvmir", "--allow-unregistered-dialect"],
                        input=strip_plan(lowered.stdout), capture_output=True, text=True, check=False)
    if ir.returncode:
        raise RuntimeError(ir.stderr[:4000])
    (folder / "out.ll").write_text(ir.stdout)
    subprocess.run([LLVM / "bin" / "clang", *target.llvm, "-Wno-override-module", "-O3", "-fPIC", "-ffreestanding", "-c", folder / "out.ll",
                    "-o", folder / "out.o"], check=True)
    subprocess.run([target.compiler, "-shared", "-nostdlib", folder / "out.o", "-o", folder / "out.so"], check=True)
    return folder / "out.so", arenas


def strip_plan(text):
    """Without our own dialects, which mlir-translate does not know."""
    text = re.sub(r"^  plan\.model.*?^  }\n", "", text, flags=re.M | re.S)
    text = re.sub(r"^module attributes {.*} {$", "module {", text, flags=re.M)
    return text


def runner(target, folder):
    path = pathlib.Path(folder) / ("run_entry_" + target.compiler)
    if not path.exists():
        subprocess.run([target.compiler, "-std=c++17", "-O1", "-I", ROOT / "runtime" / "include", HERE / "run_entry.cpp", "-o", path, "-ldl"], check=True)
    return path


def run(cases, target, folder, symbols=2, repeats=None, plugin=None):
    """Runs all cases; gives their results, with `repeats` the seconds of one call of each, with a counting `plugin` for qemu the
    instructions of the whole run."""
    library, arenas = build(module(cases, target, symbols), target, folder)
    word = lambda value: struct.pack("<Q", value & 0xffffffffffffffff)
    out = [word(len(cases))]
    for i, case in enumerate(cases):
        name = "edgecc_entry_c%d" % i
        out += [word(len(name)), name.encode(), word(arenas[name])]
        dims = case.dims + [1] * (symbols - len(case.dims))
        out += [word(len(dims))] + [word(d) for d in dims]
        inputs = [x for j, x in enumerate(case.inputs) if j not in case.states]
        for group in (inputs, [case.inputs[j] for j in case.states]):
            out.append(word(len(group)))
            for x in group:
                out += [word(x.nbytes), np.ascontiguousarray(x).tobytes()]
        out += [word(len(case.outputs))] + [word(size) for size in case.outputs]
    path = pathlib.Path(folder) / "cases"
    path.write_bytes(b"".join(out))
    start = [*target.runner, "-plugin", plugin] if plugin else target.runner
    command = [*start, runner(target, folder), library, path] + ([str(repeats)] if repeats else [])
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError("%s: exit %d %s" % (target.name, done.returncode, done.stderr))
    if plugin:
        return int(re.search(r"insns (\d+)", done.stderr).group(1))
    if repeats:
        return [float(line.split()[1]) for line in done.stdout.splitlines()]
    data, results = (pathlib.Path(str(path) + ".out")).read_bytes(), []
    for case in cases:
        count = int(np.prod(case.expected.shape))
        results.append(np.frombuffer(data, case.result_dtype, count).reshape(case.expected.shape))
        data = data[count * np.dtype(case.result_dtype).itemsize:]
    return results


def check(cases, target, folder, symbols=2):
    """Every result must agree with its reference, relative to the largest element of the reference."""
    failures = []
    for i, (case, result) in enumerate(zip(cases, run(cases, target, folder, symbols))):
        want, got = np.asarray(case.expected, np.float64), np.asarray(result, np.float64)
        scale = max(1e-6, float(np.max(np.abs(want[np.isfinite(want)]), initial=0)))
        wrong = ~((np.abs(got - want) <= case.tolerance * scale) | (got == want) | (np.isnan(got) & np.isnan(want)))
        if wrong.any():
            at = tuple(int(x[0]) for x in np.nonzero(wrong))
            failures.append("case %d on %s: %d of %d wrong, first at %s: %r instead of %r\n%s" % (
                i, target.name, wrong.sum(), wrong.size, at, got[at], want[at], case.function("c%d" % i)))
    assert not failures, "%d failures\n%s" % (len(failures), "\n".join(failures[:3]))


def verify(cases, target):
    with tempfile.TemporaryDirectory() as folder:
        check(cases, target, folder)


def target_fixture(without=()):
    """A fixture that is each target of $EDGECC_KERNEL_TARGETS (default: all) in turn, where this machine can run it."""
    names = [n for n in os.environ.get("EDGECC_KERNEL_TARGETS", ",".join(TARGETS)).split(",") if n not in without]

    @pytest.fixture(params=names)
    def target(request):
        found = TARGETS[request.param]
        if not runnable(found):
            pytest.skip("this machine cannot run " + found.name)
        return found

    return target
