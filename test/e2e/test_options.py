"""Options that would destroy what is read, or do nothing, are refused before any work; the sentence names both sides and a way out.

    pytest test/e2e/test_options.py [--build-dir build]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from edgecc.export.__main__ import main as export_main  # noqa: E402


def run(*command, cwd: Path | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=cwd, timeout=300)


def save(path: Path, nodes, inputs, outputs, weights, external: bool = False) -> Path:
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs],
                              [helper.make_tensor_value_info(n, t, s) for n, t, s in outputs],
                              [numpy_helper.from_array(v, n) for n, v in weights.items()])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path, save_as_external_data=external,
              location="weights.bin", size_threshold=0)
    return path


@pytest.fixture
def layer(tmp_path) -> Path:
    """One linear of 64 by 64, its weight in a file beside the model."""
    return save(tmp_path / "model.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"], name="only")], [("x", TensorProto.FLOAT, ["rows", 64])],
                [("y", TensorProto.FLOAT, ["rows", 64])], {"w": np.eye(64, dtype=np.float32)}, external=True)


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# --- What is written is not what is read ------------------------------------------------------------------------------


def other_names(path: Path) -> dict[str, Path]:
    """The same file by other spellings."""
    folder = path.parent
    (folder / "sub").mkdir()
    (folder / "symbolic").symlink_to(path)
    os.link(path, folder / "hard")
    return {"itself": path, "spelled": folder / "sub" / ".." / path.name, "symbolic": folder / "symbolic", "hard": folder / "hard"}


@pytest.mark.parametrize("how", ["itself", "spelled", "symbolic", "hard"])
@pytest.mark.parametrize("read, what", [("model.onnx", "the model"), ("weights.bin", "the model's external data")])
@pytest.mark.parametrize("option", ["-o", "--report"])
def test_the_model_is_not_overwritten(option, read, what, how, layer, build_dir):
    target = other_names(layer.parent / read)[how]
    before = snapshot(layer.parent)
    done = run(build_dir / "bin/edgecc", layer, option, target, *(["-o", layer.parent / "new.edge"] if option != "-o" else []), cwd=layer.parent)
    assert done.returncode == 1 and f"{option} {target} would overwrite {what} " in done.stderr and "another name" in done.stderr, done.stderr
    assert snapshot(layer.parent) == before


def test_other_inputs_are_not_overwritten(layer, build_dir):
    folder = layer.parent
    np.savez(folder / "x.npz", x=np.ones((80, 64), np.float32))
    (folder / "model.h").write_text("1 2 3 4 5\n")
    (folder / "tok8.bin").write_bytes(bytes(8))
    (folder / "text.txt").write_text("a b\n")
    (folder / "cache").mkdir()
    quantize = ["--quant=w4g32a8", "--quant-algorithm=gptq", "--dim=rows=1..8"]
    for options, said in [
        (["-o", "x.npz", "--calibrate=x.npz", *quantize], "-o x.npz would overwrite --calibrate x.npz, which is read; give -o another name"),
        (["-o", "model.edge", "--code=static", "--calibrate=model.h", *quantize], "--code=static model.h would overwrite --calibrate model.h"),
        (["-o", "a.edge", "--report=a.edge"], "--report a.edge and -o a.edge would be one file; give --report another name"),
        (["-o", "a.o", "--code=static"], "--code=static a.o and -o a.o would be one file"),
        (["-o", "tok8.bin", "--calibrate=text.txt", *quantize], "-o tok8.bin would overwrite the tokenizer "),
        (["-o", "x.npz", "--emit=obj", "--calibrate=x.npz", *quantize], "-o x.npz would overwrite --calibrate"),
        (["-o", "cache/a.edge", "--calibrate=x.npz", "--calibration-cache=cache", *quantize],
         "-o cache/a.edge lies in the folder of --calibration-cache; give -o a name in another folder"),
    ]:
        before = snapshot(folder)
        done = run(build_dir / "bin/edgecc", "model.onnx", *options, cwd=folder)
        assert done.returncode == 1 and said in done.stderr, (options, done.stderr)
        assert snapshot(folder) == before, options


def test_other_programs(layer, build_dir):
    folder, programs = layer.parent, build_dir / "bin"
    assert run(programs / "edgecc", layer, "-o", folder / "m.edge", "--quiet").returncode == 0
    np.savez(folder / "x.npz", x=np.ones((2, 64), np.float32))
    np.save(folder / "y.npy", np.ones((2, 64), np.float32))
    (folder / "a.mlir").write_text("module {}\n")
    (folder / "a.ids").write_text("1 2 3 4\n")
    for command, said in [
        (["edgecc-run", "m.edge", "--inputs", "x.npz", "--outputs", "x.npz"], "--outputs x.npz would overwrite --inputs x.npz"),
        (["edgecc-run", "m.edge", "--inputs", "x.npz", "--outputs", "m.edge"], "--outputs m.edge would overwrite the model m.edge"),
        (["edgecc-run", "m.edge", "--input", "x=y.npy", "--output-dir", "."], "--output-dir ./y.npy would overwrite --input y.npy"),
        (["edgecc-bench", "m.edge", "--json", "m.edge"], "--json m.edge would overwrite the model m.edge"),
        (["edgecc-eval", "m.edge", "--text", "a.ids", "--json", "a.ids"], "--json a.ids would overwrite --text a.ids"),
        (["edgecc-eval", "m.edge", "--text", "a.ids", "--actions", "m.edge"], "--actions m.edge would overwrite the model m.edge"),
        (["edgecc-tokenize", "a.ids", "--tokenizer", "a.mlir", "-o", "a.ids"], "-o a.ids would overwrite the text a.ids"),
        (["edgecc-opt", "a.mlir", "-o", "a.mlir"], "-o a.mlir would overwrite the input a.mlir"),
        (["edgecc-diff", "model.onnx", "--quant=w8a8", "--json", "model.onnx"], "--json model.onnx would overwrite the model model.onnx"),
    ]:
        before = snapshot(folder)
        done = run(programs / command[0], *command[1:], cwd=folder)
        assert done.returncode in (1, 2) and said in done.stderr, (command, done.stderr)
        assert snapshot(folder) == before, command


def test_export_keeps_the_checkpoint(tmp_path, capsys):
    assert export_main(["--random", "qwen3-0.6b", "--layers", "1", "--vocabulary", "64", "--sparse", "-o", str(tmp_path / "m.onnx")]) == 0
    checkpoint = tmp_path / "m.checkpoint"
    for path in (p for p in checkpoint.iterdir() if p.is_file()):
        before = path.stat().st_size
        assert export_main([str(checkpoint), "-o", str(path)]) == 1
        assert f"-o {path} would overwrite {path}" in capsys.readouterr().err and path.stat().st_size == before
    (tmp_path / "link.onnx").symlink_to(checkpoint / "config.json")
    assert export_main([str(checkpoint), "-o", str(tmp_path / "link.onnx")]) == 1
    assert "would overwrite" in capsys.readouterr().err


# --- What would have no effect ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options, said", [
    (["--prune-method=flap"], "--prune-method says how parts are pruned; say which with --prune"),
    (["--prune-compensate=bias"], "--prune-compensate says what makes up for pruned parts"),
    (["--prune-spread=even"], "--prune-spread says how pruning is spread over the layers"),
    (["--prune-layers-by=cosine"], "--prune-layers-by says which layers are pruned; say how many with --prune=layers=N"),
    (["--kv-merge=mean"], "--kv-merge says how KV heads are merged; say how many there shall be with --kv-heads"),
    (["--kv-heads=exact", "--kv-steps=3"], "--kv-steps is for KV heads that are fitted"),
    (["--quant=w8a8", "--quant-schemes=w8a8,w4g32a8"], "--quant-schemes lists schemes for a budget"),
    (["--quant=w8a8", "--outlier-threshold=5"], "--outlier-threshold is for --quant-algorithm=llm-int8"),
    (["--quant=w8a8", "--outlier-share=0.1"], "--outlier-share is for --quant-algorithm=llm-int8"),
    (["--quant=w8a8", "--quant-algorithm=llm-int8", "--outlier-share=0.1", "--outlier-threshold=5"], "--outlier-threshold is for"),
    (["--calibrate-samples=4"], "--calibrate-samples is about samples; give them with --calibrate"),
    (["--calibrate-length=4"], "--calibrate-length is about samples"),
    (["--calibrate-split=x"], "--calibrate-split is about samples"),
    (["--calibration-cache-size=1m"], "--calibration-cache-size limits a cache; name its folder with --calibration-cache"),
    (["--calibration-cache=cache"], "--calibration-cache keeps what samples show, and there are none"),
    (["--weights-dir=nowhere"], "--weights-dir nowhere is not a folder"),
    (["--emit=edge", "--report=r.json"], "--report says what became of the artifact; leave --emit away"),
    (["--emit=onnx", "--quant=w8a8"], "--emit=onnx shows the graph as it was imported"),
    (["--dim=row=3"], "there is no dimension \"row\"; the model has: rows"),
    (["--kv=int8"], "the model has no KV cache that a session keeps"),
    (["--quant-layer=other=w8a8"], "'other' fits no layer with a float weight"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_options_without_effect(options, said, layer, build_dir):
    before = snapshot(layer.parent)
    done = run(build_dir / "bin/edgecc", "model.onnx", "-o", "model.edge", *options, cwd=layer.parent)
    assert done.returncode == 1 and said in done.stderr, done.stderr
    assert snapshot(layer.parent) == before


@pytest.mark.parametrize("options, said", [
    (["--context=64"], "warning: --context 64 has no effect: the model has no KV cache"),
    (["--calibrate=x.npz"], "warning: --calibrate x.npz has no effect: nothing that was asked for looks at samples"),
    (["--calibrate=x.npz", "--quant=w8a8"], "warning: --calibrate x.npz has no effect: nothing that was asked for looks at samples"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_options_that_fit_other_models(options, said, layer, build_dir):
    """What a script gives to all of its models is a warning where a model has no use for it."""
    np.savez(layer.parent / "x.npz", x=np.ones((80, 64), np.float32))
    done = run(build_dir / "bin/edgecc", "model.onnx", "-o", "model.edge", "--dim=rows=1..8", *options, cwd=layer.parent)
    assert done.returncode == 0 and said in done.stderr, (done.stdout, done.stderr)
    used = run(build_dir / "bin/edgecc", "model.onnx", "-o", "model.edge", "--dim=rows=1..8", "--calibrate=x.npz", "--quant=w4g32a8",
               "--quant-algorithm=gptq", cwd=layer.parent)
    assert used.returncode == 0 and "has no effect" not in used.stderr, used.stderr


def test_options_of_a_level(layer, build_dir):
    folder = layer.parent
    for level in ("edge", "lowered"):
        assert run(build_dir / "bin/edgecc", "model.onnx", f"--emit={level}", "-o", f"{level}.mlir", cwd=folder).returncode == 0
    done = run(build_dir / "bin/edgecc", "edge.mlir", "-o", "model.edge", "--dim=rows=3", cwd=folder)
    assert done.returncode == 1 and "edge.mlir has its sizes already: --dim and --context are for ONNX models" in done.stderr, done.stderr
    done = run(build_dir / "bin/edgecc", "lowered.mlir", "-o", "model.edge", "--quant=w8a8", cwd=folder)
    assert done.returncode == 1 and "lowered.mlir is lowered already" in done.stderr, done.stderr


# --- Weights that are quantized in the model --------------------------------------------------------------------------


def quantized(folder: Path, floats: int) -> Path:
    """Two MatMulNBits of 4 bits, one int8 weight of an integer product, and `floats` float linears."""
    rng = np.random.default_rng(5)
    nodes, weights, last = [], {}, "x"
    for k in range(2):
        weights |= {f"n{k}": rng.integers(0, 256, (64, 2, 16)).astype(np.uint8), f"s{k}": rng.random((128,), np.float32)}
        nodes.append(helper.make_node("MatMulNBits", [last, f"n{k}", f"s{k}"], [f"a{k}"], domain="com.microsoft", K=64, N=64, bits=4, block_size=32))
        last = f"a{k}"
    weights["w8"] = rng.integers(-100, 100, (64, 64)).astype(np.int8)
    nodes += [helper.make_node("DynamicQuantizeLinear", [last], ["q", "qs", "qz"]), helper.make_node("MatMulInteger", ["q", "w8", "qz"], ["p"]),
              helper.make_node("Cast", ["p"], ["c"], to=TensorProto.FLOAT), helper.make_node("Mul", ["c", "qs"], ["d"])]
    last = "d"
    for k in range(floats):
        weights[f"w{k}"] = rng.random((64, 64), np.float32)
        nodes.append(helper.make_node("MatMul", [last, f"w{k}"], [f"f{k}"], name=f"float{k}"))
        last = f"f{k}"
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    return save(folder / "quantized.onnx", nodes, [("x", TensorProto.FLOAT, [4, 64])], [("y", TensorProto.FLOAT, [4, 64])], weights)


def test_nothing_is_left_to_quantize(tmp_path, build_dir):
    done = run(build_dir / "bin/edgecc", quantized(tmp_path, 0), "-o", tmp_path / "m.edge", "--quant=w4g32a8")
    assert done.returncode == 1, done.stdout
    assert "--quant=w4g32a8: the model has no float weight to quantize" in done.stderr and "3 weights are quantized already" in done.stderr, done.stderr
    assert not (tmp_path / "m.edge").exists()


def test_what_is_quantized_stays(tmp_path, build_dir):
    import json

    done = run(build_dir / "bin/edgecc", quantized(tmp_path, 2), "-o", tmp_path / "m.edge", "--quant=w8a8", "--report", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    assert "warning: --quant=w8a8: 3 weights are quantized already (2 of 4 bits in groups of 32, 1 of int8, such as " in done.stderr, done.stderr
    ledger = json.loads((tmp_path / "r.json").read_text())["ledger"]
    assert [entry["layer"] for entry in ledger] == ["float0", "float1"], ledger
