"""What a large model may cost: 8 GB of f16 weights compile in under 1.5 GB of memory and open in under 50 ms.

    pytest test/e2e/test_limits.py [--build-dir build]      # needs 20 GB of disk in the build directory
"""

import os
import shutil
import subprocess
import time

import pytest

import edgecc
from edgecc.export.__main__ import main as export_main

GB = 1 << 30


def compile_measured(program, *arguments) -> tuple[float, int]:
    """Seconds and peak resident bytes of a run of edgecc. On a machine that is busy otherwise the time counts that the program
    computed, if that is less."""
    begin = time.monotonic()
    process = subprocess.Popen([str(program), *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said[-2000:]
    return min(time.monotonic() - begin, usage.ru_utime + usage.ru_stime), usage.ru_maxrss * 1024


@pytest.fixture
def scratch(build_dir):
    directory = build_dir / "limits"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    yield directory
    shutil.rmtree(directory)


def test_eight_gigabytes(build_dir, scratch):
    free = shutil.disk_usage(scratch).free
    if free < 20 * GB:
        pytest.skip(f"needs 20 GB of disk in {scratch}, {free / GB:.0f} are free")
    assert export_main(["--random", "llama-4b", "--dtype", "f16", "--sparse", "-o", str(scratch / "model.onnx")]) == 0
    seconds, peak = compile_measured(build_dir / "bin/edgecc", scratch / "model.onnx", "-o", scratch / "model.edge", "--quiet")
    print(f"compiled in {seconds:.1f} s with {peak / GB:.2f} GB")
    assert peak < 1.5e9, f"{peak / 1e9:.2f} GB resident"
    edgecc.load(scratch / "model.edge").close()  # the library itself is loaded now
    begin = time.monotonic()
    model = edgecc.load(scratch / "model.edge")
    opened = time.monotonic() - begin
    model.close()
    assert opened < 0.05, f"opened in {opened * 1000:.0f} ms"


def random_qwen3(scratch, layers):
    model = scratch / f"{layers}.onnx"
    assert export_main(["--random", "qwen3-0.6b", "--layers", str(layers), "--vocabulary", "4096", "--dtype", "f16", "--sparse",
                        "-o", str(model)]) == 0
    return model


def test_layers_share_their_kernels(build_dir, scratch):
    """28 equal layers have exactly the functions of 2, for one CPU variant."""
    functions = {}
    for layers in (2, 28):
        lowered = scratch / f"{layers}.mlir"
        compile_measured(build_dir / "bin/edgecc", random_qwen3(scratch, layers), "-o", lowered, "--emit=lowered", "--quiet")
        functions[layers] = lowered.read_text().count("llvm.func internal")
    assert functions[28] == functions[2] > 0, functions


def test_layers_share_their_code(build_dir, scratch):
    """28 layers have the code of 2 and a few words for each step, and generating it for all variants is quick."""
    sizes = {}
    for layers in (2, 28):
        model = random_qwen3(scratch, layers)
        seconds, _ = compile_measured(build_dir / "bin/edgecc", model, "-o", model.with_suffix(".edge"), "--target",
                                      "android-arm64", "--quiet")
        loaded = edgecc.load(model.with_suffix(".edge"), inspect_only=True)
        sizes[layers] = sum(s["length"] for s in loaded.segments if s["kind"] == "code")
        print(f"{layers} layers: {sizes[layers]} bytes of code in {seconds:.1f} s")
        loaded.close()
    assert sizes[28] < 1.5 * sizes[2], sizes


def test_minilm_compiles_quickly(build_dir):
    import export_models

    try:
        directory = export_models.write("minilm", build_dir / "models")
    except export_models.Missing as missing:
        pytest.skip(str(missing))
    seconds, _ = compile_measured(build_dir / "bin/edgecc", directory / "model.onnx", "-o", build_dir / "models/limit.edge",
                                  "--quiet")
    assert seconds < 15, f"{seconds:.1f} s"
